"""iTransformer: each channel's whole look-back is one token, with attention over channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.encoder import EncoderConfig
from layers.instance_norm import InstanceStatistics
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class ITransformerConfig(EncoderConfig):
    """Settings of iTransformer; the defaults are the published ones for ETTh2, ETTm1, ETTm2 and Exchange."""

    d_model: int = HfArg(default=128, help="width of a channel's token")
    n_heads: int = HfArg(default=8, help="number of attention heads; divides --d_model")


class ITransformer(Forecaster):
    """Instance norm, a linear map of each channel's look-back to a token, an encoder over channels, a linear head.

    Liu et al., "iTransformer: Inverted Transformers Are Effective for Time Series Forecasting" (ICLR 2024, arXiv
    2310.06625), section 3, equations 1 and 2: h = Embedding(X_channel), h = TrmBlock(h), forecast = Projection(h);
    post-norm blocks with GELU and a final layer norm as in the published code. Published: Adam at 1e-4 halved after
    every epoch, batches of 32 windows, look-back 96; d_model 256 on ETTh1 (512 for H >= 336), 512 and three layers on
    Weather, d_ff always equal to d_model. One departure: no tokens of calendar features, which are optional in the
    paper and need dates.
    """

    Config = ITransformerConfig
    forecasts_quantiles = True
    may_leave_parameters_out = False

    def __init__(self, config: ITransformerConfig, spec: ForecastSpec) -> None:
        super().__init__()
        self.embedding = nn.Linear(spec.seq_len, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.d_model, config.n_heads, config.d_ff, config.dropout, activation="gelu", batch_first=True
        )
        final_norm = nn.LayerNorm(config.d_model)
        self.encoder = nn.TransformerEncoder(layer, config.e_layers, norm=final_norm, enable_nested_tensor=False)
        self.quantiles = spec.quantiles
        self.head = nn.Linear(config.d_model, spec.num_outputs)

    @classmethod
    def build(cls, config: ITransformerConfig, spec: ForecastSpec) -> Self:
        return cls(config, spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        statistics = InstanceStatistics.of(look_back)
        tokens = self.dropout(self.embedding(statistics.normalise(look_back).transpose(1, 2)))
        forecast = self.head(self.encoder(tokens)).float().transpose(1, 2)
        return self.forecast_of(statistics.denormalise(forecast))
