"""PatchTST: a Transformer encoder over the patches of each channel, with weights shared by all channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.channels import channels_as_rows, rows_as_channels
from layers.encoder import BatchNormEncoderLayer, EncoderConfig
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.patching import PatchConfig, cut_patches, num_patches
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class PatchTSTConfig(EncoderConfig, PatchConfig):
    """Settings of PatchTST; the defaults are the published ones for all but ETTh and ILI (see the scripts)."""

    d_model: int = HfArg(default=128, help="width of a patch's token")
    n_heads: int = HfArg(default=16, help="number of attention heads; divides --d_model")
    e_layers: int = HfArg(default=3, help="number of encoder layers")
    d_ff: int = HfArg(default=256, help="hidden width of the feed-forward block")
    dropout: float = HfArg(default=0.2, help="dropout probability")

    def __post_init__(self) -> None:
        PatchConfig.__post_init__(self)
        EncoderConfig.__post_init__(self)


class PatchTST(Forecaster):
    """Supervised PatchTST (PatchTST/64 at look-back 512): patches, learned positions, encoder, flatten head.

    Nie et al., "A Time Series is Worth 64 Words" (ICLR 2023, arXiv 2211.14730), section 3.1: instance norm without
    affine parameters; the last value repeated `stride` times at the end; x_d = W_p x_p + W_pos; post-norm encoder with
    batch norm; flatten and linear head. Published sizes: ETTh d_model 16, n_heads 4, d_ff 128, dropout 0.3; otherwise
    128, 16, 256, 0.2; three layers. One departure: no residual attention (RealFormer; in the published code but not in
    the paper), because torch's own attention is used. Published batches are 128 windows with all their channels, hence
    `channel_independent = False`: the channels become rows inside `forward`, and no channel sees another.
    """

    Config = PatchTSTConfig
    forecasts_quantiles = True
    may_leave_parameters_out = False

    def __init__(self, config: PatchTSTConfig, spec: ForecastSpec) -> None:
        super().__init__()
        self.patch_len, self.stride = config.patch_len, config.stride
        patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self.embedding = nn.Linear(config.patch_len, config.d_model)
        self.positions = nn.Parameter(torch.empty(patches, config.d_model).uniform_(-0.02, 0.02))
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.Sequential(*(BatchNormEncoderLayer(config) for _ in range(config.e_layers)))
        self.quantiles = spec.quantiles
        self.head = FlattenHead(patches, config.d_model, spec.num_outputs, dropout=0.0)

    @classmethod
    def build(cls, config: PatchTSTConfig, spec: ForecastSpec) -> Self:
        return cls(config, spec)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        statistics = InstanceStatistics.of(look_back)
        rows = channels_as_rows(statistics.normalise(look_back))
        patches = cut_patches(rows, patch_len=self.patch_len, stride=self.stride)
        tokens = self.encoder(self.dropout(self.embedding(patches) + self.positions))
        forecast = rows_as_channels(self.head(tokens).float(), look_back.shape[2])
        return self.forecast_of(statistics.denormalise(forecast))
