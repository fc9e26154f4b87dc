"""Differences between two arms over windows and seeds, with intervals, tests and verdicts (docs/verdict/plan.md)."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from utils.report.significance import MIN_BLOCKS

# The length of a block of windows, in horizons.
BLOCK_HORIZONS = 2
# Equivalent: the difference is below this share of the reference's error.
MARGIN = 0.01
MOST_SEEDS, UNLIMITED = 1000, 10**12


@dataclass(frozen=True)
class Scatter:
    """Variances of a mean difference, and how many blocks of windows and seeds they were estimated from.

    `of_windows` comes from the choice of the test windows alone; `of_interaction` from windows that favour one seed
    and not another, and `of_one_seed` from the seed: of a single seed, so that both fall with the number of seeds.
    """

    of_windows: float
    of_interaction: float
    of_one_seed: float
    blocks: int
    seeds: int

    def error(self, seeds: int) -> float:
        """The standard error with so many seeds."""
        return math.sqrt(sum(variance for variance, _ in self._parts(seeds)))

    def freedom(self, seeds: int) -> float:
        """Degrees of freedom of that standard error (Satterthwaite 1946)."""
        parts = self._parts(seeds)
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

    def _parts(self, seeds: int) -> tuple[tuple[float, int], tuple[float, int]]:
        """Variance with so many seeds and degrees of freedom: of the windows, and of the seeds."""
        of_windows = self.of_windows + self.of_interaction / seeds
        return (of_windows, self.blocks - 1), (self.of_one_seed / seeds, seeds - 1)


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
    reference: Float[np.ndarray, "seed window"],
    *,
    horizon: int,
    num_tests: int = 1,
    block_horizons: int = BLOCK_HORIZONS,
) -> Difference:
    """Compare the window errors of two arms with the same seeds on the same windows, in order of time.

    The variance is that of a bootstrap that draws windows in circular blocks of `block_horizons` horizons (Politis and
    Romano 1992) and seeds with replacement, both at once; the same windows and seeds for both arms. It is computed
    instead of drawn: a mean's variance follows from those of the sums of all blocks. Both parts are widened for known
    biases: blocks of m horizons capture 1 - 1/(3m) of the variance of overlapping windows, and n things drawn with
    replacement show (n - 1)/n of theirs. Interval and p-values are those of Student's t, with the degrees of freedom
    that blocks and seeds leave. With fewer than `MIN_BLOCKS` blocks or two seeds nothing is tested (p = 1). `num_tests`
    is the number of tests that the p-value will be corrected for, which raises the seeds needed. Raises ValueError if
    an error is not finite.
    """
    errors = [np.asarray(values, dtype=np.float64) for values in (arm, reference)]
    if not all(np.isfinite(values).all() for values in errors):
        raise ValueError("a window error is not finite: such a run has no result")
    by_seed, level = errors[0] - errors[1], float(errors[1].mean())
    mean, (num_seeds, num_windows) = float(by_seed.mean()), by_seed.shape
    block = min(block_horizons * horizon, num_windows)
    num_blocks = num_windows // block
    if num_blocks < MIN_BLOCKS or num_seeds < 2:
        return Difference(mean, level, math.nan, math.nan, 1.0, 1.0, num_seeds, None, is_tested=False)
    scatter, margin = _scatter(by_seed, block, block_horizons), MARGIN * level
    half = scatter.reach(0.025, num_seeds)
    needed, can_be_decided = _seeds_needed(mean, margin, scatter, num_tests=num_tests)
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
    """p-values corrected for their number (Holm 1979).

    In its own lines because that of statsmodels, with which a test compares it, collects garbage at every call: 0.2 s.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values, dtype=float)[order]))
    return corrected.tolist()


def word(found: Difference, corrected_p: float, *, level: float = 0.05) -> str:
    """The verdict: better, worse, equivalent, undecided, or not tested."""
    if not found.is_tested:
        return "not tested"
    if found.p_equivalence < level:
        return "equivalent"
    if corrected_p < level:
        return "better" if found.mean < 0 else "worse"
    return "undecided"


def across_cells(differences: Sequence[Difference]) -> float | None:
    """p-value of Wilcoxon's signed-rank test over the cells' mean differences; None for fewer than two cells."""
    means = [found.mean for found in differences]
    return float(np.asarray(stats.wilcoxon(means))[1]) if len(means) > 1 else None


def _scatter(by_seed: Float[np.ndarray, "seed window"], block: int, block_horizons: int) -> Scatter:
    """The variances of the mean of these differences, widened."""
    num_seeds, num_windows = by_seed.shape
    num_blocks = num_windows // block
    over_seeds = by_seed.mean(axis=0)
    own = by_seed - over_seeds
    widened = 1 / (1 - 1 / (3 * block_horizons)) * num_blocks / (num_blocks - 1)
    of_mean = widened * variance_of_mean(over_seeds, block)
    of_own = [variance_of_mean(each, block) for each in own]
    # What seeds have of their own is in the variance of their mean too, and cannot be more than that.
    of_interaction = min(widened * sum(of_own) / (num_seeds - 1), num_seeds * of_mean)
    return Scatter(
        of_windows=of_mean - of_interaction / num_seeds,
        of_interaction=of_interaction,
        of_one_seed=(sum(of_own) + float((own.mean(axis=1) ** 2).sum())) / (num_seeds - 1),
        blocks=num_blocks,
        seeds=num_seeds,
    )


def variance_of_mean(values: Float[np.ndarray, "window"], block: int) -> float:
    """Variance of the mean of a circular block bootstrap, whose last block is cut to the number of windows."""
    num_windows = len(values)
    whole, rest = divmod(num_windows, block)
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values]))])
    starts = np.arange(num_windows)

    def of_sums(length: int) -> float:
        return float((total[starts + length] - total[starts]).var())

    return (whole * of_sums(block) + of_sums(rest)) / num_windows**2


def _seeds_needed(mean: float, margin: float, scatter: Scatter, *, num_tests: int = 1) -> tuple[int | None, bool]:
    """Seeds after which there would be a verdict if difference and variances stay, and whether any number would do.

    A difference is decided when its interval, at the strictest level of Holm's correction, leaves 0, or lies within the
    margin, whichever needs fewer seeds. More seeds do not lessen the variance that comes from the test windows.
    """
    wanted = ((abs(mean), 0.025 / num_tests), (margin - abs(mean), 0.05))

    def is_decided(seeds: int) -> bool:
        return any(distance > 0 and distance > scatter.reach(level, seeds) for distance, level in wanted)

    if not is_decided(UNLIMITED):
        return None, False
    if not is_decided(MOST_SEEDS):
        return None, True
    return 2 + bisect.bisect_left(range(2, MOST_SEEDS), True, key=is_decided), True
