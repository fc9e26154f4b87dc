"""CALF's cross-modal match module: channels as tokens, and cross-attention from them to principal words."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CrossModalMatch(nn.Module):
    """Maps each channel's look-back window to the inputs of the temporal and the textual branch (CALF 3.1)."""

    def __init__(
        self,
        seq_len: int,
        width: int,
        *,
        num_heads: int,
        feed_forward: int,
        dropout: float,
        with_text: bool = True,
        with_attention: bool = True,
    ):
        super().__init__()
        self.linear = nn.Linear(seq_len, width)
        self.encoder = None
        if with_attention:
            self.encoder = nn.TransformerEncoderLayer(width, num_heads, feed_forward, dropout, batch_first=True)
        # Holds the parameters only; its forward would project the words again for every row.
        self.cross_attention = nn.MultiheadAttention(width, num_heads) if with_text else None

    def time_tokens(self, channels: Float[Tensor, "row channel seq_len"]) -> Float[Tensor, "row channel width"]:
        """One token per channel, after self-attention over the channels of a window (if it is built with that)."""
        tokens = self.linear(channels)
        return tokens if self.encoder is None else self.encoder(tokens)

    def text_tokens(
        self, time_tokens: Float[Tensor, "row channel width"], words: Float[Tensor, "word width"]
    ) -> Float[Tensor, "row channel width"]:
        """Cross-attention from time tokens to `words`, whose keys and values are projected once for all rows."""
        attention = self.cross_attention
        assert attention is not None, "built without a textual branch"
        weights = attention.in_proj_weight.chunk(3)
        biases = attention.in_proj_bias.chunk(3)
        # The tokens of all rows are the queries of a single attention, so the words are not repeated per row.
        query, key, value = (
            F.linear(tokens, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(0, 1).unsqueeze(0)
            for tokens, weight, bias in zip((time_tokens.flatten(0, 1), words, words), weights, biases, strict=True)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return attention.out_proj(mixed.squeeze(0).transpose(0, 1).flatten(1)).unflatten(0, time_tokens.shape[:2])
