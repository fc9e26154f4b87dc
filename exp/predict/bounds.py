"""Bounds of prediction intervals around forecasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from exp.predict.adaptive import WindowForecasts
from utils.intervals.quantiles import interval_levels

Bounds = tuple[Float[ndarray, "window pred_len channel"], Float[ndarray, "window pred_len channel"]]


@dataclass(frozen=True)
class IntervalsOfForecasts:
    """How prediction intervals are made: from two quantiles of the model, from half widths, or not at all.

    `quantiles` are the places of the lower and the upper one, `half_width` is in original units. Adaptive ones begin at
    `half_width` and change from window to window (`adaptive_forecast`).
    """

    quantiles: tuple[int, int] | None = None
    half_width: Float[ndarray, "pred_len channel"] | None = None
    is_adaptive: bool = False

    def __call__(self, part: WindowForecasts) -> Bounds | None:
        """Lower and upper bounds of the forecasts, in original units."""
        if self.quantiles is not None:
            assert part.quantiles is not None, "a model that has levels forecasts their quantiles"
            return part.quantiles[..., self.quantiles[0]], part.quantiles[..., self.quantiles[1]]
        return None if self.half_width is None else around(part, self.half_width)


def around(part: WindowForecasts, half_width: Float[ndarray, "*window pred_len channel"]) -> Bounds:
    """The forecasts less and plus half widths."""
    return part.values - half_width, part.values + half_width


def quantiles_of_level(quantiles: Sequence[float], level: float) -> tuple[int, int]:
    """The places of the quantiles that bound the interval of `level`. Raises ValueError if there are none."""
    if not quantiles:
        raise ValueError("--interval_method quantiles needs a model that was trained with --quantiles: leave it away")
    known = interval_levels(quantiles)
    nearest = min(known, key=lambda other: abs(other - level), default=None)
    if nearest is None or not math.isclose(nearest, level, abs_tol=1e-9):
        levels = ", ".join(f"{quantile:g}" for quantile in quantiles)
        choice = f"choose {' or '.join(f'{other:g}' for other in known)}, or " if known else ""
        raise ValueError(
            f"--interval {level:g} is not bounded by the quantiles {levels} of this model: {choice}"
            "--interval_method conformal"
        )
    return known[nearest]
