"""What the README takes from the committed runs: the answer in short and the main table."""

from __future__ import annotations

from utils.verdict.collection import Collected
from utils.verdict.comparisons import comparisons_of
from utils.verdict.pages.answer import in_short
from utils.verdict.pages.main_table import ROOT, label_of, main_table
from utils.verdict.plan import SEEDS, core

README = ROOT / "README.md"
# A paragraph of one line, and a table, that begin so.
ANSWER, TABLE = "**Does the language model help?**", "| model |"


def filled_in(readme: str, collected: Collected) -> str:
    """The README with its answer and its main table. Raises ValueError if it has no place for one of them."""
    with_answer = _replaced(readme, ANSWER, answer_in_short(collected))
    return _replaced(with_answer, TABLE, main_table(collected))


def answer_in_short(collected: Collected) -> str:
    """In Markdown, one line: what the page concludes, of what, and where the rest is."""
    concluded = in_short(comparisons_of(collected, core()))
    return (
        f"{ANSWER} {label_of(collected, 'BALM')}, fixed text, a tenth of the training rows, {len(SEEDS)} seeds: "
        f"{concluded} Differences, other models, all rows, the plan and how sure this is: "
        "[docs/verdict](docs/verdict/README.md)."
    )


def _replaced(text: str, begin: str, new: str) -> str:
    """`text` with `new` for the lines from the one that begins with `begin` to the end of its paragraph or table."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(begin)), None)
    if start is None:
        raise ValueError(f"README.md has no line that begins with {begin}: put one where this is to stand")
    end = next((place for place in range(start, len(lines)) if not lines[place]), len(lines))
    return "\n".join([*lines[:start], new, *lines[end:]]) + "\n"
