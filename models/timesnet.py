"""TimesNet: a series folded by its own periods into images, which convolutions read (arXiv 2210.02186)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.encoder import check_dropout
from layers.instance_norm import InstanceStatistics
from layers.timesnet.block import TimesBlock
from layers.timesnet.embedding import SeriesEmbedding
from models.base import Forecast, Forecaster, ForecastSpec

# The published code's ways, turned on by --compat_official.
PUBLISHED: dict[str, Any] = {"batch_periods": True, "time_step_features": "hourly"}
NUM_HOURLY_FEATURES = 4


@dataclass(frozen=True)
class TimesNetConfig:
    """Settings of TimesNet; the defaults are the published ones for ETTh2 and Weather."""

    d_model: int = HfArg(default=32, help="width of a time step")
    d_ff: int = HfArg(default=32, help="number of images between the two convolutions of a block")
    e_layers: int = HfArg(default=2, help="number of blocks")
    top_k: int = HfArg(default=5, help="number of periods by which a block folds the series")
    num_kernels: int = HfArg(default=6, help="number of square kernels in a convolution, of size 1, 3, 5, ...")
    dropout: float = HfArg(default=0.1, help="dropout rate of the embedding")
    batch_periods: bool = HfArg(
        default=False,
        help="published: the periods of a batch's mean spectrum, so that a forecast depends on the other windows of "
        "its batch; default: each window's own periods",
    )
    time_step_features: Literal["data", "hourly"] = HfArg(
        default="data",
        help="calendar features: those of the data's time step (minutes too below an hour), or the hourly ones "
        "whatever the time step, as published",
    )
    compat_official: bool = HfArg(default=False, help=f"behave as the published code: overrides {', '.join(PUBLISHED)}")

    def __post_init__(self) -> None:
        if self.compat_official:
            for name, value in PUBLISHED.items():
                object.__setattr__(self, name, value)
        check_dropout(self.dropout)
        for name in ("d_model", "d_ff", "e_layers", "top_k", "num_kernels"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")


class TimesNet(Forecaster):
    """Instance norm, embedding, a linear map of the look-back to look-back and horizon, TimesBlocks, a linear map back.

    Wu et al., "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis" (ICLR 2023, arXiv
    2210.02186), section 3. Published training: Adam at 1e-4 halved after every epoch, batches of 32 windows, at most 10
    epochs, look-back 96; widths in the scripts.
    """

    Config = TimesNetConfig
    may_leave_parameters_out = False
    needs_time_features = True
    needs_fixed_channels = True
    shapes_depend_on_values = True

    def __init__(self, config: TimesNetConfig, spec: ForecastSpec) -> None:
        super().__init__()
        num_steps = spec.seq_len + spec.pred_len
        if config.top_k > num_steps // 2:
            raise ValueError(
                f"--top_k must be at most half of --seq_len + --pred_len, got {config.top_k} and {num_steps} steps"
            )
        self.config, self.seq_len, self.pred_len = config, spec.seq_len, spec.pred_len
        hourly = config.time_step_features == "hourly"
        num_features = NUM_HOURLY_FEATURES if hourly else spec.num_time_features
        self.embedding = SeriesEmbedding(spec.num_channels, num_features, config.d_model, spec.seq_len, config.dropout)
        self.extend = nn.Linear(spec.seq_len, num_steps)
        self.blocks = nn.ModuleList(
            TimesBlock(
                config.d_model,
                config.d_ff,
                top_k=config.top_k,
                num_kernels=config.num_kernels,
                of_batch=config.batch_periods,
            )
            for _ in range(config.e_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.projection = nn.Linear(config.d_model, spec.num_channels)

    @classmethod
    def build(cls, config: TimesNetConfig, spec: ForecastSpec) -> Self:
        return cls(config, spec)

    def time_feature_step(self, time_step: str) -> str:
        return "h" if self.config.time_step_features == "hourly" else time_step

    def forward(
        self, look_back: Float[Tensor, "row seq_len channel"], time_features: Float[Tensor, "row time feature"]
    ) -> Forecast:
        statistics = InstanceStatistics.of(look_back)
        embedded = self.embedding(statistics.normalise(look_back), time_features[:, : self.seq_len])
        series = self.extend(embedded.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            series = self.norm(block(series))
        forecast = self.projection(series[:, -self.pred_len :]).float()
        return Forecast(statistics.denormalise(forecast))
