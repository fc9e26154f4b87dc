"""DLinear: one linear map for the trend of the look-back and one for the remainder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.hf_argparser import HfArg

from layers.known_future import KnownFutureEffect
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class DLinearConfig:
    """Settings of DLinear; the published moving average spans 25 time steps on every dataset."""

    moving_avg: int = HfArg(default=25, help="length of the trend's moving average, in time steps (odd)")
    known_future: str = HfArg(
        default="",
        help="columns, separated by commas, whose values are known for the horizon, too: read beside the channels, not "
        "forecast (custom data)",
    )

    flags_added_later: ClassVar[tuple[str, ...]] = ("known_future",)

    def __post_init__(self) -> None:
        if self.moving_avg < 1 or self.moving_avg % 2 == 0:
            raise ValueError(f"--moving_avg must be odd and positive, so that it has a middle, got {self.moving_avg}")


def moving_average(series: Float[Tensor, "row channel time"], width: int) -> Float[Tensor, "row channel time"]:
    """Centred moving average over `width` time steps, with the first and last value repeated as padding."""
    beyond = (width - 1) // 2
    return functional.avg_pool1d(functional.pad(series, (beyond, beyond), mode="replicate"), width, stride=1)


class DLinear(Forecaster):
    """Sum of a linear map of the trend and one of the remainder, both shared by all channels (DLinear-S).

    Zeng et al., "Are Transformers Effective for Time Series Forecasting?" (AAAI 2023, arXiv 2205.13504), section 4:
    X_t = AvgPool(Padding(X)), X_s = X - X_t, forecast = W_s X_s + W_t X_t; torch's own initialisation as in the
    published code. Published training: Adam, batches of 32 windows with all their channels (hence
    `channel_independent = False`, although no channel sees another), a learning rate halved after every epoch, at most
    10 epochs with patience 3, look-back 336.
    """

    Config = DLinearConfig
    forecasts_quantiles = True
    may_leave_parameters_out = False
    reads_known_future = True

    averaging: Tensor

    def __init__(self, config: DLinearConfig, spec: ForecastSpec) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.trend = nn.Linear(spec.seq_len, spec.num_outputs)
        self.remainder = nn.Linear(spec.seq_len, spec.num_outputs)
        # The moving average as a matrix: X_t = averaging^T X.
        averaging = moving_average(torch.eye(spec.seq_len)[None], config.moving_avg)[0]
        self.register_buffer("averaging", averaging, persistent=False)
        self.effect = KnownFutureEffect(spec.num_known_future, spec.num_channels) if spec.num_known_future else None

    @classmethod
    def build(cls, config: DLinearConfig, spec: ForecastSpec) -> Self:
        return cls(config, spec)

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
        return functional.linear(look_back.transpose(1, 2), *self.joined()).float().transpose(1, 2)

    def joined(self) -> tuple[Float[Tensor, "output seq_len"], Float[Tensor, "output"]]:
        """Weight and bias of the single linear map equal to W_s X_s + W_t X_t, as X_t is linear in X.

        The moving average is applied to the weights once per step instead of to every row.
        """
        with torch.autocast(self.averaging.device.type, enabled=False):
            of_trend = (self.trend.weight - self.remainder.weight) @ self.averaging.T
            return self.remainder.weight + of_trend, self.remainder.bias + self.trend.bias
