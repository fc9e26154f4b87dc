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
# The length of a block of windows, in horizons, that shows how much a verdict hangs on the plan's choice.
LONGER_BLOCKS = 4


@dataclass(frozen=True)
class Comparison:
    """An arm against a reference in one cell.

    `verdict` is one of VERDICTS, decided with the corrected p-value, or "not tested". Without all seeds of both there
    is no difference (`found` is None) and `verdict` says how many there are ("2 of 5 seeds").
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


def compare(collected: Collected, part: Part, *pairs: Pair) -> list[Comparison]:
    """The pairs, one family, in each cell of their part.

    The p-values are corrected for all of these pairs and the part's cells, whether they have been run or not, so that a
    verdict cannot fall when a cell is run. (The second learning rate's part grows while it is not known which cells it
    is due in.)
    """
    places = [(pair, cell) for pair in pairs for cell in part.cells]
    found: dict[tuple[Pair, str], Difference] = {}
    for pair, cell in places:
        if _num_complete(collected, part, pair, cell) == len(part.seeds):
            found[pair, cell] = _difference(collected, part, pair, cell, num_tests=len(places))
    missing = [1.0] * (len(places) - len(found))
    corrected = dict(zip(found, holm([*(each.p_difference for each in found.values()), *missing]), strict=False))
    compared = []
    for pair, cell in places:
        each, p = found.get((pair, cell)), corrected.get((pair, cell), 1.0)
        verdict = word(each, p) if each is not None else _so_far(collected, part, pair, cell)
        compared.append(Comparison(cell, pair.arm, pair.reference, each, p, verdict))
    return compared


def comparisons_of(collected: Collected, part: Part) -> list[Comparison]:
    """Every pair of the part in every cell."""
    return [each for family in part.families for each in compare(collected, part, *family)]


def with_longer_blocks(collected: Collected, part: Part, found: Sequence[Comparison]) -> list[Comparison]:
    """The tested comparisons of the part again, with blocks of `LONGER_BLOCKS` horizons, where that leaves enough."""
    by_name = {(each.cell, each.arm, each.reference): each for each in found}
    again = []
    for family in part.families:
        tested = {
            (pair, cell): each
            for pair in family
            for cell in part.cells
            if (each := by_name[cell, pair.arm, pair.reference].found) is not None and each.is_tested
        }
        longer = {
            (pair, cell): _difference(collected, part, pair, cell, block_horizons=LONGER_BLOCKS)
            for pair, cell in tested
        }
        # A cell that has too few of the longer blocks keeps its p-value in the correction.
        p_values = [(longer[key] if longer[key].is_tested else each).p_difference for key, each in tested.items()]
        missing = [1.0] * (len(family) * len(part.cells) - len(tested))
        corrected = dict(zip(tested, holm([*p_values, *missing]), strict=False))
        again += [
            Comparison(cell, pair.arm, pair.reference, each, corrected[pair, cell], word(each, corrected[pair, cell]))
            for (pair, cell), each in longer.items()
            if each.is_tested
        ]
    return again


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


def _difference(collected: Collected, part: Part, pair: Pair, cell: str, **how: int) -> Difference:
    errors = [_errors(collected, cell, arms, part.seeds) for arms in ((pair.arm,), pair.arms)]
    return difference(*errors, horizon=horizon_of(cell), **how)


def _errors(
    collected: Collected, cell: str, arms: Sequence[str], seeds: Sequence[int]
) -> Float[np.ndarray, "seed window"]:
    """Window errors by seed, in the order of `seeds`; of several arms (draws of random weights) the mean."""
    return np.mean([[collected.errors_of(cell, arm, seed) for seed in seeds] for arm in arms], axis=0)
