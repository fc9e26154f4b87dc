"""Whether a run has the settings of the runs that it is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# Flags in which the arms of a cell differ.
ARM_FLAGS = ("text_branch", "backbone", "textual_branch", "llm_model", "llm_seed", "alignment_weight")


class KnownSettings:
    """The flags that the runs of each arm have, and of each cell and model."""

    def __init__(self) -> None:
        self.flags: dict[tuple[str, ...], dict[str, str]] = {}

    def differing(self, row: Mapping[str, Any]) -> list[str]:
        """The flags of a run that are others than its arm or cell has; what is known grows with it if there are none.

        A committed run without flags tells nothing.
        """
        if not row.get("flags"):
            return []
        own, cell, arm = by_flag(json.loads(row["flags"])), (row["cell"], row["model"]), (row["cell"], row["arm"])
        shared = {name: value for name, value in own.items() if name not in ARM_FLAGS}
        mine, known = (own, self.flags[arm]) if arm in self.flags else (shared, self.flags.get(cell, shared))
        names = [name for name in sorted({*mine, *known}) if mine.get(name) != known.get(name)]
        if not names:
            self.flags.setdefault(arm, own)
            self.flags.setdefault(cell, shared)
        return [f"--{name} {mine.get(name, 'left out')}".strip() for name in names]


def by_flag(words: Sequence[str]) -> dict[str, str]:
    """Flag -> its values; the last one counts. The seed is none of the settings."""
    found, name = dict[str, str](), ""
    for word in words:
        if word.startswith("--"):
            name, _, value = word.removeprefix("--").partition("=")
            found[name] = value
        else:
            found[name] = f"{found.get(name, '')} {word}".strip()
    found.pop("seed", None)
    return found
