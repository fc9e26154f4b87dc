"""Forecast heads: tokens to horizon."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class FlattenHead(nn.Module):
    """Linear map from the flattened tokens of a row (dimension-major) to the outputs, then dropout."""

    def __init__(self, num_tokens: int, d: int, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(d * num_tokens, num_outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "row token d"]) -> Float[Tensor, "row output"]:
        return self.dropout(self.linear(tokens.transpose(1, 2).flatten(1)))
