"""Naive baseline: the last value of the look-back, repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor

from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class LastValueConfig:
    """Last value has no settings."""


class LastValue(Forecaster):
    """Repeats the last value of the look-back over the horizon; no parameters.

    The "naive method" of Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd ed., section 5.2).
    """

    Config = LastValueConfig

    def __init__(self, spec: ForecastSpec) -> None:
        super().__init__()
        self.pred_len = spec.pred_len

    @classmethod
    def build(cls, config: LastValueConfig, spec: ForecastSpec) -> Self:  # noqa: ARG003
        return cls(spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        return Forecast(look_back[:, -1:].repeat(1, self.pred_len, 1))
