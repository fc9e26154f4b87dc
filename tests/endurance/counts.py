"""What was tried, and what went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

KINDS = ("lost", "diverged", "believed", "traceback")


@dataclass
class Counts:
    """How often something was tried, by its name, and the problems found, each of one of `KINDS`."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def fail(self, kind: str, what: str) -> None:
        """Note a problem."""
        assert kind in KINDS
        self.found[kind] += 1
        self.problems.append(f"{kind}: {what}")

    def __str__(self) -> str:
        tried = ", ".join(f"{count} {name}" for name, count in self.tried.items())
        return f"{tried}: " + ", ".join(f"{self.found[kind]} {kind}" for kind in KINDS)
