"""NLinear: a linear map of the look-back's differences from its last value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn

from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class NLinearConfig:
    """NLinear has no settings."""


class NLinear(Forecaster):
    """The last value plus a linear map, shared by all channels, of the look-back's differences from the last value.

    Zeng et al., "Are Transformers Effective for Time Series Forecasting?" (AAAI 2023, arXiv 2205.13504), section 4:
    forecast = W (X - x_last) + b + x_last; trained like DLinear (batches of 32 windows with all their channels).
    """

    Config = NLinearConfig
    forecasts_quantiles = True
    may_leave_parameters_out = False

    def __init__(self, spec: ForecastSpec) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.linear = nn.Linear(spec.seq_len, spec.num_outputs)

    @classmethod
    def build(cls, config: NLinearConfig, spec: ForecastSpec) -> Self:  # noqa: ARG003
        return cls(spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        last = look_back[:, -1:]
        change = self.linear((look_back - last).transpose(1, 2)).float()
        return self.forecast_of(change.transpose(1, 2) + last)
