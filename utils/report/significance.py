"""Paired tests of two models on the same test windows, which account for the overlap of the windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

MIN_BLOCKS = 6


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of two models' window errors (first - second), its 95 % interval and two p-values.

    The p-values and the interval are None if the test split has fewer than `MIN_BLOCKS` blocks of windows: too few
    for a test, however many windows there are.
    """

    difference: float
    num_windows: int
    num_blocks: int
    interval: tuple[float, float] | None = None
    p_bootstrap: float | None = None
    p_wilcoxon: float | None = None


def paired_test(
    first: Float[np.ndarray, "window"],
    second: Float[np.ndarray, "other_window"],
    *,
    horizon: int,
    num_resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Test the difference of two models' errors on the same windows, in order of time.

    Windows one step apart share all but one of their `horizon` target steps, so their errors are not independent. The
    interval and `p_bootstrap` come from a circular block bootstrap (Politis and Romano 1992), which draws blocks of
    twice the horizon instead of windows. `p_wilcoxon` is scipy's signed-rank test over the means of disjoint blocks of
    that length. Raises ValueError if the two do not have the same number of windows.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two models were tested on {len(first)} and {len(second)} windows: they cannot be paired")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    block_length = min(2 * horizon, len(differences))
    num_blocks = len(differences) // block_length
    mean = float(differences.mean())
    if num_blocks < MIN_BLOCKS:
        return PairedTest(mean, len(differences), num_blocks)
    if not differences.any():
        return PairedTest(0.0, len(differences), num_blocks, (0.0, 0.0), 1.0, 1.0)
    means = mean + _widening(num_blocks) * (_resampled_means(differences, block_length, num_resamples, seed) - mean)
    low, high = np.quantile(means, [0.025, 0.975])
    # If there is no difference, resampled means scatter around 0 as they do here around the observed mean.
    extreme = int((np.abs(means - mean) >= abs(mean)).sum())
    block_means = differences[: num_blocks * block_length].reshape(num_blocks, block_length).mean(axis=1)
    wilcoxon = np.asarray(stats.wilcoxon(block_means))[1]
    return PairedTest(
        mean,
        len(differences),
        num_blocks,
        (float(low), float(high)),
        (extreme + 1) / (num_resamples + 1),
        float(wilcoxon),
    )


def holm(p_values: list[float | None]) -> list[float | None]:
    """p-values corrected for multiple testing (Holm 1979); None stays None and is not counted."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, place) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        corrected[place] = running
    return corrected


def _widening(num_blocks: int) -> float:
    """Factor on the scatter of resampled means that corrects two biases of the block bootstrap.

    The covariance of two windows falls linearly to 0 over one horizon; blocks of L windows weigh lag k by 1 - k/L, so
    that at L = 2 horizons they capture 5/6 of the variance. Resampling n blocks gives (n - 1)/n of their variance.
    """
    return math.sqrt(6 / 5 * num_blocks / (num_blocks - 1))


def _resampled_means(
    differences: Float[np.ndarray, "window"], block_length: int, num_resamples: int, seed: int
) -> Float[np.ndarray, "resample"]:
    """Means of circular block resamples, from differences of a running sum, so that no resample is built."""
    generator = np.random.default_rng(seed)
    num_drawn = -(-len(differences) // block_length)
    wrapped = np.concatenate([differences, differences[: block_length - 1]])
    running = np.concatenate([[0.0], wrapped.cumsum()])
    block_sums = running[block_length:] - running[:-block_length]
    starts = generator.integers(len(differences), size=(num_resamples, num_drawn))
    return block_sums[starts].sum(axis=1) / (num_drawn * block_length)
