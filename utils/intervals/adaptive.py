"""Adaptive conformal intervals: half widths that follow the errors of a forecaster through time.

The half width of each channel and step is a running quantile of the absolute errors: it grows by `rate * level` after a
miss and shrinks by `rate * (1 - level)` after a hit, so that in the long run a share of `level` is hit whatever the
errors do (quantile tracking: Gibbs and Candès, NeurIPS 2021; Angelopoulos et al., NeurIPS 2023, equation 4). The rate
is a fixed share of a running mean of the absolute errors of that channel and step.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

# Shares per window: of the mean error in the rate, and of the newest error in the mean.
RATE, MEMORY = 0.05, 0.01


def track(
    errors: Float[ndarray, "window pred_len channel"], start: Float[ndarray, "pred_len channel"], *, level: float
) -> Float[ndarray, "window_and_one pred_len channel"]:
    """The half widths before the first window, and after the errors of each one, when the tracking begins at `start`.

    `errors` are absolute, oldest window first; those that are not known yet are NaN and change nothing.
    """
    widths = np.empty((len(errors) + 1, *start.shape))
    widths[0], mean = start, start / 2
    for number, found in enumerate(errors):
        is_known = ~np.isnan(found)
        mean = np.where(is_known, (1 - MEMORY) * mean + MEMORY * found, mean)
        step = np.where(found > widths[number], level, level - 1) * RATE * mean
        widths[number + 1] = np.where(is_known, np.maximum(widths[number] + step, 0), widths[number])
    return widths


def widths_in_time(
    widths: Float[ndarray, "window_and_one pred_len channel"],
) -> Float[ndarray, "window_and_one pred_len channel"]:
    """For each window, the half widths from what is known when it is made; the last row is for a window after all.

    A forecast of `step` rows ahead is judged that many rows later: window w knows the errors at `step` of the windows
    up to w - step.
    """
    num_windows, pred_len = len(widths), widths.shape[1]
    steps = np.arange(pred_len)
    known = np.maximum(np.arange(num_windows)[:, None] - steps, 0)
    return widths[known, steps]
