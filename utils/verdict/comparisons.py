"""The plan's comparisons, computed for every complete cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from utils.verdict.collection import Collected
from utils.verdict.statistics import Difference, difference, holm, word

PRETRAINED = "pretrained"
RANDOM = ("random (2021)", "random (1)")
ARMS = (PRETRAINED, "none", "mlp", "numbers", "constant", "words", "permuted", *RANDOM)
NUM_SEEDS = 5
# Reference -> its arms, and what a lower error of `pretrained` would say.
REFERENCES: dict[str, tuple[tuple[str, ...], str]] = {
    "none": (("none",), "text helps"),
    "random": (RANDOM, "pretraining helps"),
    "permuted": (("permuted",), "the row's own text helps"),
    "constant": (("constant",), "the row's own text helps"),
    "numbers": (("numbers",), "language says more than the nine numbers"),
    "words": (("words",), "the transformer helps"),
    "mlp": (("mlp",), "it is not the size"),
}
# The plan's first part: its cells as `collection.cell_of` names them.
CELLS = (
    "ETTh1_10pct_512_96_rate0.0004",
    "ILI_104_24_rate0.0004",
    "ETTh2_10pct_512_96_rate0.0008",
    "Exchange_10pct_512_96_rate0.0002",
)


@dataclass(frozen=True)
class Comparison:
    """An arm against a reference in one cell, with the p-value corrected over the cells and the verdict."""

    cell: str
    arm: str
    reference: str
    found: Difference
    corrected_p: float
    verdict: str


def complete_cells(collected: Collected) -> list[str]:
    """The cells in which every arm of the plan has all its seeds, in the plan's order."""

    def is_complete(cell: str) -> bool:
        return all(len(collected.of(cell, [arm])) >= NUM_SEEDS for arm in ARMS)

    return [cell for cell in CELLS if is_complete(cell)]


def compare(collected: Collected, arm: str, reference: str, cells: Sequence[str]) -> list[Comparison]:
    """`arm` against `reference` (a key of REFERENCES) in each cell; p-values are corrected over them."""
    arms = REFERENCES[reference][0]
    found = [
        difference(collected.window_errors(cell, [arm]), collected.window_errors(cell, arms), horizon=horizon_of(cell))
        for cell in cells
    ]
    corrected = holm([each.p_difference for each in found])
    return [
        Comparison(cell, arm, reference, each, p, word(each, p))
        for cell, each, p in zip(cells, found, corrected, strict=True)
    ]


def all_comparisons(collected: Collected) -> Iterator[Comparison]:
    """`pretrained` against every reference, and every other arm against `none`, in the complete cells."""
    cells = complete_cells(collected)
    for reference in REFERENCES:
        yield from compare(collected, PRETRAINED, reference, cells)
    for arm in ARMS:
        if arm not in (PRETRAINED, "none"):
            yield from compare(collected, arm, "none", cells)


def horizon_of(cell: str) -> int:
    """The horizon in a cell's name."""
    return int(cell.split("_rate")[0].rpartition("_")[2])
