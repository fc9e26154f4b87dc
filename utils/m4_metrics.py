"""Metrics of the M4 competition (SMAPE, MASE, OWA) and its benchmark Naive2, for series in original units.

As in the competition's R code (M4-methods, `Benchmarks and Evaluation.R`): Naive2 is the last value of the seasonally
adjusted series times the seasonal indices, if a 90 % test of the autocorrelation finds the series seasonal.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

CRITICAL_VALUE = 1.645
# Naive2 makes no error on a few constant series: the average over them still has to be a number.
TINY = 1e-12


def smape(
    forecast: Float[ndarray, "*series step"], target: Float[ndarray, "*series step"]
) -> Float[ndarray, "*series"]:
    """Symmetric mean absolute percentage error of each series, in 0..200; a step where both are 0 counts as 0."""
    size = np.abs(forecast) + np.abs(target)
    return 200.0 * np.mean(np.abs(forecast - target) / np.where(size > 0, size, 1.0), axis=-1)


def seasonal_naive_error(series: Float[ndarray, "time"], season_length: int) -> float:
    """The denominator of MASE: mean absolute difference of values one season apart; 0 for shorter series."""
    differences = np.abs(series[season_length:] - series[:-season_length])
    return float(differences.mean()) if len(differences) else 0.0


def mase(forecast: Float[ndarray, "step"], target: Float[ndarray, "step"], *, naive_error: float) -> float:
    """Mean absolute error in units of the seasonal naive error of the training series."""
    return float(np.mean(np.abs(forecast - target)) / naive_error)


def owa(*, smape: float, mase: float, naive2_smape: float, naive2_mase: float) -> float:
    """Overall weighted average: the mean of SMAPE and MASE, each (averaged over series) relative to that of Naive2."""
    return 0.5 * (smape / max(naive2_smape, TINY) + mase / max(naive2_mase, TINY))


def naive2(series: Float[ndarray, "time"], *, horizon: int, season_length: int) -> Float[ndarray, "{horizon}"]:
    """The last seasonally adjusted value times the seasonal indices; without a season, the last value."""
    if not is_seasonal(series, season_length):
        return np.full(horizon, series[-1], dtype=np.float64)
    indices = seasonal_indices(series, season_length)
    if not (np.isfinite(indices) & (indices > 0)).all():
        # A trend of zeros has no multiplicative season.
        return np.full(horizon, series[-1], dtype=np.float64)
    positions = np.arange(len(series), len(series) + horizon) % season_length
    return series[-1] / indices[(len(series) - 1) % season_length] * indices[positions]


def is_seasonal(series: Float[ndarray, "time"], season_length: int) -> bool:
    """Whether the autocorrelation at the season's lag exceeds its 90 % limit; False for fewer than three seasons."""
    length = len(series)
    # R's acf stops at lag 10 log10(length), so a longer season counts as not seasonal.
    if season_length == 1 or length < 3 * season_length or season_length > 10 * np.log10(length):
        return False
    centred = series - series.mean()
    variance = float(centred @ centred)
    if variance == 0:
        return False
    correlations = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season_length + 1)]) / variance
    limit = CRITICAL_VALUE * np.sqrt((1 + 2 * np.sum(correlations[:-1] ** 2)) / length)
    return bool(abs(correlations[-1]) > limit)


def seasonal_indices(series: Float[ndarray, "time"], season_length: int) -> Float[ndarray, "{season_length}"]:
    """Multiplicative indices of the classical decomposition, mean 1; index 0 belongs to the first value.

    The trend is a centred moving average over a season; the ends that it does not reach, and places where it is 0,
    are ignored. NaN if nothing is left of a step of the season.
    """
    window = np.ones(season_length)
    if season_length % 2 == 0:
        window = np.concatenate([[0.5], np.ones(season_length - 1), [0.5]])
    trend = np.convolve(series, window / season_length, mode="valid")
    first = len(window) // 2
    ratios = np.full(len(series), np.nan)
    middle = series[first : first + len(trend)]
    ratios[first : first + len(trend)] = np.divide(middle, trend, out=np.full(len(trend), np.nan), where=trend != 0)
    found = [ratios[position::season_length] for position in range(season_length)]
    indices = np.array([np.nanmean(part) if not np.isnan(part).all() else np.nan for part in found])
    return indices / indices.mean()
