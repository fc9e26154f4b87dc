"""NLinear: a linear map of the look-back's differences from its last value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.known_future import KnownFutureEffect
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class NLinearConfig:
    """Settings of NLinear."""

    known_future: str = HfArg(
        default="",
        help="columns, separated by commas, whose values are known for the horizon, too: read beside the channels, not "
        "forecast (custom data)",
    )

    flags_added_later: ClassVar[tuple[str, ...]] = ("known_future",)


class NLinear(Forecaster):
    """The last value plus a linear map, shared by all channels, of the look-back's differences from the last value.

    Zeng et al., "Are Transformers Effective for Time Series Forecasting?" (AAAI 2023, arXiv 2205.13504), section 4:
    forecast = W (X - x_last) + b + x_last; trained like DLinear (batches of 32 windows with all their channels).
    """

    Config = NLinearConfig
    forecasts_quantiles = True
    may_leave_parameters_out = False
    reads_known_future = True

    def __init__(self, spec: ForecastSpec) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.linear = nn.Linear(spec.seq_len, spec.num_outputs)
        self.effect = KnownFutureEffect(spec.num_known_future, spec.num_channels) if spec.num_known_future else None

    @classmethod
    def build(cls, config: NLinearConfig, spec: ForecastSpec) -> Self:  # noqa: ARG003
        return cls(spec)

    def forward(
        self,
        look_back: Float[Tensor, "row seq_len channel"],
        known_future: Float[Tensor, "row both column"] | None = None,
    ) -> Forecast:
        if self.effect is None or known_future is None:
            return self.forecast_of(self._outputs(look_back))
        past, future = self.effect(known_future, seq_len=look_back.shape[1])
        return self.forecast_of(self._outputs(look_back - past) + future.repeat(1, max(1, len(self.quantiles)), 1))

    def _outputs(self, look_back: Float[Tensor, "row seq_len channel"]) -> Float[Tensor, "row output channel"]:
        last = look_back[:, -1:]
        change = self.linear((look_back - last).transpose(1, 2)).float()
        return change.transpose(1, 2) + last
