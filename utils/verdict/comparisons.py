"""The plan's comparisons, computed from the committed runs: a verdict, or how many seeds there are so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from utils.verdict.collection import Collected
from utils.verdict.plan import (
    ARMS,
    CELLS,
    NONE,
    PRETRAINED,
    SEEDS,
    SEEDS_OF_SECOND_RATE,
    Pair,
    Part,
    core,
    horizon_of,
    second_rate,
)
from utils.verdict.statistics import Difference, difference, holm, word

VERDICTS: tuple[str, ...] = ("better", "worse", "equivalent", "undecided")


@dataclass(frozen=True)
class Comparison:
    """An arm against a reference in one cell.

    `verdict` is one of VERDICTS, decided with the p-value corrected over the part's cells. Without all seeds of both
    there is no difference (`found` is None) and `verdict` says how many there are ("2 of 5 seeds").
    """

    cell: str
    arm: str
    reference: str
    found: Difference | None
    corrected_p: float
    verdict: str

    @property
    def control(self) -> str:
        """Which control the reference is, `none` or `random`; empty for another, such as the same arm otherwise."""
        if self.arm.startswith(self.reference):
            return ""
        return next((control for control in (NONE, "random") if control in self.reference), "")


@dataclass(frozen=True)
class SecondRate:
    """Whether a cell is due to be run at a tenth of its learning rate.

    `best_epochs` are those of `pretrained` by the plan's seeds, so far; it is due, or not, once the missing seeds
    cannot change that.
    """

    cell: str
    best_epochs: list[int]
    is_due: bool
    is_known: bool


def compare(collected: Collected, part: Part, pair: Pair) -> list[Comparison]:
    """The pair in each cell of its part.

    The p-values are corrected for all of the part's cells, whether they have been run or not, so that a verdict cannot
    fall when a cell is run. (The second learning rate's part grows while it is not known which cells it is due in.)
    """
    found: dict[str, Difference] = {}
    for cell in part.cells:
        if _num_complete(collected, part, pair, cell) == len(part.seeds):
            errors = [_errors(collected, cell, arms, part.seeds) for arms in ((pair.arm,), pair.arms)]
            found[cell] = difference(*errors, horizon=horizon_of(cell), num_cells=len(part.cells))
    missing = [1.0] * (len(part.cells) - len(found))
    corrected = dict(zip(found, holm([*(each.p_difference for each in found.values()), *missing]), strict=False))
    return [
        Comparison(cell, pair.arm, pair.reference, found[cell], corrected[cell], word(found[cell], corrected[cell]))
        if cell in found
        else Comparison(cell, pair.arm, pair.reference, None, 1.0, _so_far(collected, part, pair, cell))
        for cell in part.cells
    ]


def comparisons_of(collected: Collected, part: Part) -> list[Comparison]:
    """Every pair of the part in every cell."""
    return [each for pair in part.pairs for each in compare(collected, part, pair)]


def chosen(found: Sequence[Comparison], *, arm: str = "", reference: str = "", cell: str = "") -> list[Comparison]:
    """Those of this arm, reference and cell, as far as they are given."""
    return [
        each
        for each in found
        if (not arm or each.arm == arm)
        and (not reference or each.reference == reference)
        and (not cell or each.cell == cell)
    ]


def second_rates(collected: Collected) -> list[SecondRate]:
    """The plan's rule, applied to the validation errors of each cell of the core."""
    found = []
    for cell in CELLS:
        runs = collected.of(cell, [PRETRAINED])
        by_seed = dict(zip(runs["seed"], runs["best_epoch"], strict=True)) if len(runs) else {}
        epochs = [int(by_seed[seed]) for seed in SEEDS if seed in by_seed]
        num_first, num_missing = sum(epoch == 1 for epoch in epochs), len(SEEDS) - len(epochs)
        is_due = num_first >= SEEDS_OF_SECOND_RATE
        found.append(SecondRate(cell, epochs, is_due, is_due or num_first + num_missing < SEEDS_OF_SECOND_RATE))
    return found


def second_part(collected: Collected) -> Part | None:
    """The core at the second learning rate, in the cells where that is due or was run; None if there are none."""
    cells = tuple(
        second_rate(each.cell)
        for each in second_rates(collected)
        if each.is_due or any(collected.seeds_of(second_rate(each.cell), arm) for arm in ARMS)
    )
    return core(cells, title="Second learning rate") if cells else None


def num_seeds(collected: Collected, cell: str, arm: str, seeds: Sequence[int]) -> int:
    """How many of these seeds an arm has in a cell."""
    return len(collected.seeds_of(cell, arm) & set(seeds))


def _num_complete(collected: Collected, part: Part, pair: Pair, cell: str) -> int:
    return min(num_seeds(collected, cell, arm, part.seeds) for arm in (pair.arm, *pair.arms))


def _so_far(collected: Collected, part: Part, pair: Pair, cell: str) -> str:
    num = _num_complete(collected, part, pair, cell)
    return f"{num} of {len(part.seeds)} seeds" if num else "not run"


def _errors(
    collected: Collected, cell: str, arms: Sequence[str], seeds: Sequence[int]
) -> Float[np.ndarray, "seed window"]:
    """Window errors by seed, in the order of `seeds`; of several arms (draws of random weights) the mean."""
    return np.mean([[collected.errors_of(cell, arm, seed) for seed in seeds] for arm in arms], axis=0)
