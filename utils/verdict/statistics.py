"""Differences between two arms over windows and seeds, with intervals, tests and verdicts (docs/verdict/plan.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from arch.bootstrap import CircularBlockBootstrap
from jaxtyping import Float
from scipy import stats

from utils.report.significance import MIN_BLOCKS

NUM_DRAWS = 2000
# Equivalent: the difference is below this share of the reference's error.
MARGIN = 0.01
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Difference:
    """Mean test error of an arm minus that of the reference, in one cell.

    `low` and `high` bound the 95 % interval, `p_difference` tests "no difference" (two-sided), `p_equivalence` tests
    "they differ by at least the margin" (the larger of two one-sided tests).
    """

    mean: float
    reference: float
    low: float
    high: float
    p_difference: float
    p_equivalence: float
    num_seeds: int
    seeds_needed: int | None
    is_tested: bool = True

    @property
    def percent(self) -> float:
        """The difference in percent of the reference's error."""
        return 100 * self.mean / self.reference


def difference(
    arm: Float[np.ndarray, "seed window"],
    reference: Float[np.ndarray, "other_seed window"],
    *,
    horizon: int,
    num_cells: int = 1,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Difference:
    """Compare the window errors of two arms on the same windows, in order of time.

    Windows are drawn in circular blocks of two horizons (Politis and Romano 1992) and seeds with replacement, both at
    once; the same windows for both arms, and the same seeds where both arms have as many. Both scatters are widened for
    known biases: blocks of two horizons capture 5/6 of the variance of overlapping windows, and n things drawn with
    replacement show (n - 1)/n of theirs. With fewer than `MIN_BLOCKS` blocks or two seeds nothing is tested (p = 1).
    `num_cells` is the number of cells that the p-value will be corrected for, which raises the seeds needed.
    """
    errors = [np.asarray(values, dtype=np.float64) for values in (arm, reference)]
    mean, level = float(errors[0].mean() - errors[1].mean()), float(errors[1].mean())
    num_seeds, num_windows = errors[0].shape
    block = min(2 * horizon, num_windows)
    num_blocks = num_windows // block
    over_windows, over_both = _drawn_differences(*errors, block=block, num_draws=num_draws, seed=seed)
    window_part = math.sqrt(6 / 5 * num_blocks / max(1, num_blocks - 1)) * (over_windows - mean)
    seed_part = math.sqrt(num_seeds / max(1, num_seeds - 1)) * (over_both - over_windows)
    draws = mean + window_part + seed_part
    is_tested = num_blocks >= MIN_BLOCKS and num_seeds > 1
    low, high = np.quantile(draws, [0.025, 0.975])
    margin = MARGIN * level
    # Around the true difference the estimate scatters as the draws do around the estimate.
    scatter = draws - mean
    return Difference(
        mean=mean,
        reference=level,
        low=float(low),
        high=float(high),
        p_difference=_share(np.abs(scatter) >= abs(mean)) if is_tested else 1.0,
        p_equivalence=max(_share(scatter <= mean - margin), _share(scatter >= mean + margin)) if is_tested else 1.0,
        num_seeds=num_seeds,
        seeds_needed=_seeds_needed(
            mean,
            margin,
            of_windows=float(window_part.var()),
            of_one_seed=num_seeds * float(seed_part.var()),
            num_cells=num_cells,
        )
        if is_tested
        else None,
        is_tested=is_tested,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for the number of cells (Holm 1979).

    In its own lines because that of statsmodels, with which a test compares it, collects garbage at every call: 0.2 s.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values, dtype=float)[order]))
    return corrected.tolist()


def word(found: Difference, corrected_p: float, *, level: float = 0.05) -> str:
    """The verdict on a cell: better, worse, equivalent or undecided."""
    if found.p_equivalence < level:
        return "equivalent"
    if corrected_p < level:
        return "better" if found.mean < 0 else "worse"
    return "undecided"


def across_cells(differences: Sequence[Difference]) -> float | None:
    """p-value of Wilcoxon's signed-rank test over the cells' differences; None for fewer than two cells."""
    percents = [found.percent for found in differences]
    return float(np.asarray(stats.wilcoxon(percents))[1]) if len(percents) > 1 else None


def _drawn_differences(
    arm: Float[np.ndarray, "seed window"],
    reference: Float[np.ndarray, "other_seed window"],
    *,
    block: int,
    num_draws: int,
    seed: int,
) -> tuple[Float[np.ndarray, "draw"], Float[np.ndarray, "draw"]]:
    """Mean differences over drawn windows with all seeds, and with drawn seeds."""
    shares = _drawn_windows(arm.shape[1], block, num_draws, seed)
    means, other_means = shares @ arm.T, shares @ reference.T
    generator = np.random.default_rng(seed + 1)
    seeds = generator.integers(len(arm), size=(num_draws, len(arm)))
    is_paired = len(reference) == len(arm)
    others = seeds if is_paired else generator.integers(len(reference), size=(num_draws, len(reference)))
    over_windows = means.mean(axis=1) - other_means.mean(axis=1)
    drawn, drawn_others = np.take_along_axis(means, seeds, axis=1), np.take_along_axis(other_means, others, axis=1)
    return over_windows, drawn.mean(axis=1) - drawn_others.mean(axis=1)


@lru_cache(maxsize=8)
def _drawn_windows(num_windows: int, block: int, num_draws: int, seed: int) -> Float[np.ndarray, "draw window"]:
    """The share of each window in each draw; kept, because all arms of a cell are drawn alike."""
    bootstrap: Any = CircularBlockBootstrap(block, np.arange(num_windows), seed=np.random.default_rng(seed))
    resamples: Any = bootstrap.bootstrap(num_draws)
    return np.stack([np.bincount(positions[0], minlength=num_windows) for (positions, _) in resamples]) / num_windows


def _share(happened: np.ndarray) -> float:
    return (int(happened.sum()) + 1) / (len(happened) + 1)


def _seeds_needed(
    mean: float, margin: float, *, of_windows: float, of_one_seed: float, num_cells: int = 1
) -> int | None:
    """Seeds after which there would be a verdict if difference and variances stay; None: more than `MOST_SEEDS`.

    A difference is decided when its interval, at the strictest level of Holm's correction, leaves 0, or lies within the
    margin, whichever needs fewer seeds. More seeds do not lessen the variance that comes from the test windows.
    """
    found = []
    for distance, level in ((abs(mean), 0.025 / num_cells), (margin - abs(mean), 0.05)):
        allowed = (distance / float(stats.norm.isf(level))) ** 2 - of_windows
        if distance > 0 and allowed > 0:
            found.append(max(2, math.ceil(of_one_seed / allowed)))
    needed = min(found, default=MOST_SEEDS + 1)
    return needed if needed <= MOST_SEEDS else None
