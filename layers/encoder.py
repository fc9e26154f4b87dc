"""Transformer encoder settings, and PatchTST's encoder layer with batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg


def check_heads(*, d_model: int, n_heads: int) -> None:
    """Check that `n_heads` divides `d_model` (ValueError)."""
    if n_heads < 1 or d_model < 1 or d_model % n_heads:
        raise ValueError(f"--d_model must be a positive multiple of --n_heads, got {d_model} and {n_heads}")


def check_dropout(dropout: float) -> None:
    """Check that `dropout` is at least 0 and below 1 (ValueError)."""
    if not 0 <= dropout < 1:
        raise ValueError(f"--dropout must be in 0..1 (1 excluded), got {dropout}")


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a Transformer encoder."""

    d_model: int = HfArg(default=128, help="width of a token")
    n_heads: int = HfArg(default=8, help="number of attention heads; divides --d_model")
    e_layers: int = HfArg(default=2, help="number of encoder layers")
    d_ff: int = HfArg(default=128, help="hidden width of the feed-forward block")
    dropout: float = HfArg(default=0.1, help="dropout probability")

    def __post_init__(self) -> None:
        check_heads(d_model=self.d_model, n_heads=self.n_heads)
        check_dropout(self.dropout)
        for name in ("e_layers", "d_ff"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of each feature over all tokens of all rows."""

    def forward(self, input: Float[Tensor, "row token d_model"]) -> Float[Tensor, "row token d_model"]:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class BatchNormEncoderLayer(nn.Module):
    """A post-norm encoder layer with batch norm (PatchTST, arXiv 2211.14730, section 3.1).

    Zerveas et al. (KDD 2021) found batch norm better than layer norm for time series; PatchTST follows them. Dropout
    is applied to both residual branches and inside the feed-forward block, not to the attention weights, as published.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.d_model, config.n_heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.d_model, config.d_ff),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_ff, config.d_model),
        )
        self.attention_norm = TokenBatchNorm(config.d_model)
        self.feed_forward_norm = TokenBatchNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Float[Tensor, "row token d_model"]) -> Float[Tensor, "row token d_model"]:
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        tokens = self.attention_norm(tokens + self.dropout(mixed))
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))
