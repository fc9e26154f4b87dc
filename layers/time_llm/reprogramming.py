"""Patch reprogramming: patches described by prototypes of the language model's words (Time-LLM, section 3.1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class TextPrototypes(nn.Module):
    """A few prototypes as trainable mixtures of all words, each with one bias for all dimensions."""

    def __init__(self, num_words: int, num_prototypes: int) -> None:
        super().__init__()
        self.mixture = nn.Linear(num_words, num_prototypes)

    def forward(self, words: Float[Tensor, "word width"]) -> Float[Tensor, "prototype width"]:
        """The prototypes of the (frozen) word table; the product is taken in the table's precision."""
        mixed = self.mixture.weight.to(words.dtype) @ words
        return mixed.to(self.mixture.bias.dtype) + self.mixture.bias[:, None]


class Reprogramming(nn.Module):
    """Attention of patches (queries) over text prototypes (keys and values), with heads of width `head_width`.

    The prototypes are the same for all rows: `keys_values` of them is computed once a step.
    """

    def __init__(self, d_model: int, width: int, *, n_heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.head_width, self.dropout = n_heads, head_width, dropout
        self.query = nn.Linear(d_model, n_heads * head_width)
        self.key = nn.Linear(width, n_heads * head_width)
        self.value = nn.Linear(width, n_heads * head_width)
        self.output = nn.Linear(n_heads * head_width, width)

    def keys_values(
        self, prototypes: Float[Tensor, "prototype width"]
    ) -> tuple[Float[Tensor, "head prototype head_width"], Float[Tensor, "head prototype head_width"]]:
        """Keys and values of the prototypes."""
        return self._heads(self.key(prototypes)), self._heads(self.value(prototypes))

    def forward(
        self,
        patches: Float[Tensor, "row patch d_model"],
        keys: Float[Tensor, "head prototype head_width"],
        values: Float[Tensor, "head prototype head_width"],
    ) -> Float[Tensor, "row patch width"]:
        """Patches in the language model's width."""
        return self.output(self.read(patches, keys, values))

    def read(
        self,
        patches: Float[Tensor, "row patch d_model"],
        keys: Float[Tensor, "head prototype head_width"],
        values: Float[Tensor, "head prototype head_width"],
    ) -> Float[Tensor, "row patch heads"]:
        """What each patch reads of the prototypes: its heads side by side."""
        # All patches of all rows are the queries of one sequence, so that keys and values are not copied for each row.
        queries = self._heads(self.query(patches.flatten(0, 1)))
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(queries[None], keys[None], values[None], dropout_p=dropout)[0]
        return read.transpose(0, 1).flatten(1).unflatten(0, patches.shape[:2])

    def weights(
        self, patches: Float[Tensor, "row patch d_model"], keys: Float[Tensor, "head prototype head_width"]
    ) -> Float[Tensor, "row head patch prototype"]:
        """How much each patch reads of each prototype, without dropout."""
        queries = self.query(patches).unflatten(-1, (self.n_heads, self.head_width)).transpose(1, 2)
        return (queries @ keys.transpose(1, 2) / self.head_width**0.5).softmax(dim=-1)

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.n_heads, self.head_width)).transpose(0, 1)
