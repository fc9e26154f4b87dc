"""Linear probe: how well numbers can be read back from the states of a text (docs/verdict/plan.md)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import Ridge

STRENGTHS = (1e-4, 1e-2, 1.0, 1e2, 1e4)
CHOSEN_ON = 0.2


def probe(
    states: Float[np.ndarray, "row d"],
    values: Float[np.ndarray, "row value"],
    held_out: Float[np.ndarray, "other_row d"],
    held_out_values: Float[np.ndarray, "other_row value"],
) -> Float[np.ndarray, "value"]:
    """R2 of each value on the held-out rows, by ridge regression on states standardised by the training rows.

    Rows are in order of time. The strength is the best for each value on the last fifth of the training rows. A value
    that is constant there, or on the held-out rows, has NaN.
    """
    scale = states.std(axis=0) + 1e-12
    train, test = (states - states.mean(axis=0)) / scale, (held_out - states.mean(axis=0)) / scale
    split = int(len(train) * (1 - CHOSEN_ON))
    found = np.empty(values.shape[1])
    for place in range(values.shape[1]):
        value = values[:, place]
        scores = [
            _r2(value[split:], Ridge(strength).fit(train[:split], value[:split]).predict(train[split:]))
            for strength in STRENGTHS
        ]
        if np.isnan(scores).any():
            found[place] = np.nan
            continue
        fitted = Ridge(STRENGTHS[int(np.argmax(scores))]).fit(train, value)
        found[place] = _r2(held_out_values[:, place], fitted.predict(test))
    return found


def _r2(target: np.ndarray, predicted: np.ndarray) -> float:
    """NaN for a target that is constant: there is nothing to explain."""
    if np.ptp(target) == 0:
        return float("nan")
    return float(1 - ((target - predicted) ** 2).sum() / ((target - target.mean()) ** 2).sum())
