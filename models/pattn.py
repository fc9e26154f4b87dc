"""PAttn: patches and a single attention layer, the simple baseline for LLM forecasters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.channels import channels_as_rows, rows_as_channels
from layers.encoder import check_dropout, check_heads
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.patching import PatchConfig, cut_patches, num_patches
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class PAttnConfig(PatchConfig):
    """Settings of PAttn; the defaults are our choice."""

    d_model: int = HfArg(default=128, help="width of a patch's token")
    n_heads: int = HfArg(default=8, help="number of attention heads; divides --d_model")
    dropout: float = HfArg(default=0.1, help="dropout probability of attention weights and output")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(d_model=self.d_model, n_heads=self.n_heads)
        check_dropout(self.dropout)


class PAttn(Forecaster):
    """Instance norm, linear patch embedding, LayerNorm(x + Attention(x)) once, and a flatten head.

    Tan et al., "Are Language Models Actually Useful for Time Series Forecasting?" (NeurIPS 2024, arXiv 2406.16964),
    section 4: their simple baseline for LLM forecasters; no feed-forward block, no position embedding (the head has
    separate weights for each patch). As in GPT4TS, whose GPT-2 it replaces, a row is one channel of one window. Width,
    heads and dropout are our choice.
    """

    Config = PAttnConfig
    channel_independent = True
    forecasts_quantiles = True
    may_leave_parameters_out = False

    def __init__(self, config: PAttnConfig, spec: ForecastSpec) -> None:
        super().__init__()
        self.patch_len, self.stride = config.patch_len, config.stride
        patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self.embedding = nn.Linear(config.patch_len, config.d_model)
        self.attention = nn.MultiheadAttention(config.d_model, config.n_heads, config.dropout, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.d_model)
        self.quantiles = spec.quantiles
        self.head = FlattenHead(patches, config.d_model, spec.num_outputs, dropout=0.0)

    @classmethod
    def build(cls, config: PAttnConfig, spec: ForecastSpec) -> Self:
        return cls(config, spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        statistics = InstanceStatistics.of(look_back)
        rows = channels_as_rows(statistics.normalise(look_back))
        tokens = self.embedding(cut_patches(rows, patch_len=self.patch_len, stride=self.stride))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        tokens = self.norm(tokens + self.dropout(mixed))
        forecast = rows_as_channels(self.head(tokens).float(), look_back.shape[2])
        return self.forecast_of(statistics.denormalise(forecast))
