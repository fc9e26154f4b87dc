"""The plan's hypotheses, cell by cell: each holds only where `pretrained` is better than every reference it names."""

from __future__ import annotations

from collections.abc import Sequence

from utils.verdict.comparisons import Comparison, chosen
from utils.verdict.pages.document import Grid
from utils.verdict.plan import CELLS, HYPOTHESES, PRETRAINED, cell_text


def hypotheses_table(found: Sequence[Comparison]) -> Grid:
    """A line for each hypothesis, a column for each cell of the core."""
    rows = []
    for name, references in HYPOTHESES.items():
        outcomes = []
        for cell in CELLS:
            compared = [
                each
                for reference in references
                for each in chosen(found, arm=PRETRAINED, reference=reference, cell=cell)
            ]
            outcomes.append(outcome(compared))
        rows.append([name, " and ".join(references), *outcomes])
    return Grid(["hypothesis", "better than", *map(cell_text, CELLS)], rows, num_heads=2 + len(CELLS))


def outcome(compared: Sequence[Comparison]) -> str:
    """What `pretrained` against all references of a hypothesis in one cell says of it."""
    incomplete = [each.verdict for each in compared if each.found is None]
    if incomplete:
        return incomplete[0]
    if not all(each.found.is_tested for each in compared if each.found):
        return "too few test windows"
    worse = [each.reference for each in compared if each.verdict == "worse"]
    if worse:
        return f"no: worse than {' and '.join(worse)}"
    verdicts = {each.verdict for each in compared}
    if verdicts == {"better"}:
        return "holds"
    return "no: equivalent" if verdicts == {"equivalent"} else "undecided"
