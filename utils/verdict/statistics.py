"""Differences between two arms over windows and seeds, with intervals, tests and verdicts (docs/verdict/plan.md)."""

from __future__ import annotations

import bisect
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
MOST_SEEDS, UNLIMITED = 1000, 10**12


@dataclass(frozen=True)
class Scatter:
    """Variances of a mean difference that come from the choice of test windows and of one seed, and their freedom.

    `blocks` and `seeds` are the numbers of blocks of windows and of seeds that the variances were estimated from.
    """

    of_windows: float
    of_one_seed: float
    blocks: int
    seeds: int

    def error(self, seeds: int) -> float:
        """The standard error with so many seeds."""
        return math.sqrt(self.of_windows + self.of_one_seed / seeds)

    def freedom(self, seeds: int) -> float:
        """Degrees of freedom of that standard error (Satterthwaite 1946)."""
        parts = ((self.of_windows, self.blocks - 1), (self.of_one_seed / seeds, seeds - 1))
        below = sum(variance**2 / degrees for variance, degrees in parts)
        return sum(variance for variance, _ in parts) ** 2 / below if below else math.inf

    def reach(self, level: float, seeds: int) -> float:
        """How far an estimate with so many seeds lies above the truth with this probability."""
        error = self.error(seeds)
        return error * float(stats.t.isf(level, self.freedom(seeds))) if error else 0.0

    def share_beyond(self, distance: float) -> float:
        """Probability that the estimate lies at least this far above the truth."""
        error = self.error(self.seeds)
        return float(stats.t.sf(distance / error, self.freedom(self.seeds))) if error else float(distance <= 0)


@dataclass(frozen=True)
class Difference:
    """Mean test error of an arm minus that of the reference, in one cell.

    `low` and `high` bound the 95 % interval, `p_difference` tests "no difference" (two-sided), `p_equivalence` tests
    "they differ by at least the margin" (the larger of two one-sided tests). `seeds_needed` would decide the cell if
    difference and scatter stay (None: more than `MOST_SEEDS`); `can_be_decided` is False if no number of seeds would,
    because the choice of the test windows alone leaves it open.
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
    can_be_decided: bool = True

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

    The variance comes from a bootstrap that draws windows in circular blocks of two horizons (Politis and Romano 1992)
    and seeds with replacement, both at once; the same windows for both arms, and the same seeds where both arms have as
    many. Both parts are widened for known biases: blocks of two horizons capture 5/6 of the variance of overlapping
    windows, and n things drawn with replacement show (n - 1)/n of theirs. Interval and p-values are those of Student's
    t, with the degrees of freedom that blocks and seeds leave. With fewer than `MIN_BLOCKS` blocks or two seeds nothing
    is tested (p = 1). `num_cells` is the number of cells that the p-value will be corrected for, which raises the seeds
    needed. Raises ValueError if an error is not finite.
    """
    errors = [np.asarray(values, dtype=np.float64) for values in (arm, reference)]
    if not all(np.isfinite(values).all() for values in errors):
        raise ValueError("a window error is not finite: such a run has no result")
    mean, level = float(errors[0].mean() - errors[1].mean()), float(errors[1].mean())
    (num_seeds, num_windows), margin = errors[0].shape, MARGIN * level
    block = min(2 * horizon, num_windows)
    num_blocks = num_windows // block
    over_windows, over_both = _drawn_differences(*errors, block=block, num_draws=num_draws, seed=seed)
    least = min(num_seeds, len(errors[1]))
    scatter = Scatter(
        of_windows=6 / 5 * num_blocks / max(1, num_blocks - 1) * float((over_windows - mean).var()),
        of_one_seed=num_seeds * least / max(1, least - 1) * float((over_both - over_windows).var()),
        blocks=num_blocks,
        seeds=num_seeds,
    )
    if num_blocks < MIN_BLOCKS or least < 2:
        return Difference(mean, level, math.nan, math.nan, 1.0, 1.0, num_seeds, None, is_tested=False)
    half = scatter.reach(0.025, num_seeds)
    needed, can_be_decided = _seeds_needed(mean, margin, scatter, num_cells=num_cells)
    return Difference(
        mean=mean,
        reference=level,
        low=mean - half,
        high=mean + half,
        p_difference=min(1.0, 2 * scatter.share_beyond(abs(mean))),
        p_equivalence=max(scatter.share_beyond(margin - mean), scatter.share_beyond(margin + mean)),
        num_seeds=num_seeds,
        seeds_needed=needed,
        can_be_decided=can_be_decided,
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
    """p-value of Wilcoxon's signed-rank test over the cells' mean differences; None for fewer than two cells."""
    means = [found.mean for found in differences]
    return float(np.asarray(stats.wilcoxon(means))[1]) if len(means) > 1 else None


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


def _seeds_needed(mean: float, margin: float, scatter: Scatter, *, num_cells: int = 1) -> tuple[int | None, bool]:
    """Seeds after which there would be a verdict if difference and variances stay, and whether any number would do.

    A difference is decided when its interval, at the strictest level of Holm's correction, leaves 0, or lies within the
    margin, whichever needs fewer seeds. More seeds do not lessen the variance that comes from the test windows.
    """
    wanted = ((abs(mean), 0.025 / num_cells), (margin - abs(mean), 0.05))

    def is_decided(seeds: int) -> bool:
        return any(distance > 0 and distance > scatter.reach(level, seeds) for distance, level in wanted)

    if not is_decided(UNLIMITED):
        return None, False
    if not is_decided(MOST_SEEDS):
        return None, True
    return 2 + bisect.bisect_left(range(2, MOST_SEEDS), True, key=is_decided), True
