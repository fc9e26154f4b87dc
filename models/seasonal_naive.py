"""Seasonal naive baseline: the last season of the look-back, repeated."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from models.base import Forecast, Forecaster, ForecastSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeasonalNaiveConfig:
    """Seasonal naive has no settings: the season is the dataset's."""


class SeasonalNaive(Forecaster):
    """Forecasts each step as the value one season (`spec.season_length` time steps) earlier; no parameters.

    The "seasonal naive method" of Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd ed., section
    5.2). If the look-back is shorter than one season (`--seq_len 96` on 10-minute data, whose day has 144 steps), the
    last value is repeated, with a warning in the log.
    """

    Config = SeasonalNaiveConfig

    def __init__(self, spec: ForecastSpec) -> None:
        super().__init__()
        self.pred_len = spec.pred_len
        self.season_length = spec.season_length if spec.season_length <= spec.seq_len else 1
        if self.season_length != spec.season_length:
            logger.warning(
                "SeasonalNaive: --seq_len %d is shorter than one season of %d time steps: the last value is repeated",
                spec.seq_len,
                spec.season_length,
            )

    @classmethod
    def build(cls, config: SeasonalNaiveConfig, spec: ForecastSpec) -> Self:  # noqa: ARG003
        return cls(spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        step_of_season = torch.arange(self.pred_len, device=look_back.device) % self.season_length
        return Forecast(look_back[:, -self.season_length :][:, step_of_season])
