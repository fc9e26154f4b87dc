"""Embedding of patches together with the mask of their values."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class MaskedPatchEmbedding(nn.Module):
    """g e + (1 - g) m, mapped once more: e embeds a patch, m its mask, g = sigmoid(W1 e + W2 m).

    Without masks in training (`reads_mask` False) only e is left.
    """

    def __init__(self, patch_len: int, width: int, dropout: float, *, reads_mask: bool) -> None:
        super().__init__()
        self.values = nn.Linear(patch_len, width)
        self.reads_mask = reads_mask
        if reads_mask:
            self.mask = nn.Linear(patch_len, width)
            self.gate_of_values = nn.Linear(width, width)
            self.gate_of_mask = nn.Linear(width, width)
            self.projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, patches: Float[Tensor, "row patch patch_len"], mask_patches: Float[Tensor, "#row #patch patch_len"]
    ) -> Float[Tensor, "row patch width"]:
        """Tokens of the patches; the mask of a row without dropped values may be given once for all."""
        values = self.values(patches)
        if not self.reads_mask:
            return self.dropout(values)
        mask = self.mask(mask_patches)
        return self.dropout(self.projection(self.gated(values, mask)))

    def gate(
        self, values: Float[Tensor, "row patch width"], mask: Float[Tensor, "#row #patch width"]
    ) -> Float[Tensor, "row patch width"]:
        """Share of the values in a token."""
        return (self.gate_of_values(values) + self.gate_of_mask(mask)).sigmoid()

    def gated(
        self, values: Float[Tensor, "row patch width"], mask: Float[Tensor, "#row #patch width"]
    ) -> Float[Tensor, "row patch width"]:
        """Values and mask, weighed by the gate."""
        gate = self.gate(values, mask)
        return gate * values + (1 - gate) * mask
