"""Bounds of prediction intervals around forecasts."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from exp.predict.adaptive import WindowForecasts

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
