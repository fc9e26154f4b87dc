"""Forecast heads: tokens to horizon."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class FlattenHead(nn.Module):
    """Linear map from the flattened tokens of a row (dimension-major) to the horizon, then dropout."""

    def __init__(self, num_tokens: int, d: int, pred_len: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(d * num_tokens, pred_len)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "row token d"]) -> Float[Tensor, "row pred_len"]:
        return self.dropout(self.linear(tokens.transpose(1, 2).flatten(1)))
