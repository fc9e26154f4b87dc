"""The last value of the look-back, repeated: what every trained model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor

from models.base import Forecast, Forecaster, TaskShape


@dataclass(frozen=True)
class LastValueConfig:
    """Last value has no settings."""


class LastValue(Forecaster):
    """Forecasts every step of the horizon as the last value of the look-back; nothing is trained.

    The "naive method" of Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd ed., section 5.2).
    """

    Config = LastValueConfig

    def __init__(self, shape: TaskShape) -> None:
        super().__init__()
        self.pred_len = shape.pred_len

    @classmethod
    def build(cls, config: LastValueConfig, shape: TaskShape) -> Self:  # noqa: ARG003
        return cls(shape)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        return Forecast(look_back[:, -1:].repeat(1, self.pred_len, 1))
