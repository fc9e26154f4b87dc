"""Attention's grid of texts: how heads are gathered from the packed tokens of a batch, and brought back."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layers.fast_gpt2.layout import Cells, TextLayout


class TextGrid:
    """Cuts queries, keys and values of every text out of packed matrices, and packs what comes out of attention.

    A packed matrix holds a line per token and in it one or more parts (queries, keys, values) of all heads. A grid has
    lines [head, text, cell] of one head's width; every text's keys begin with the prefix. Both ways go by index.
    """

    def __init__(self, layout: TextLayout, *, num_heads: int, head_width: int) -> None:
        self.layout, self.num_heads, self.head_width = layout, num_heads, head_width
        self.width = num_heads * head_width
        self.num_texts, self.num_queries = layout.body.lines.shape
        self.num_keys = layout.num_prefix + self.num_queries
        device = layout.body.lines.device
        self.heads = torch.arange(num_heads, device=device)
        self.prefix_lines = torch.arange(layout.num_prefix, device=device)
        self.later = _later(self.num_queries, self.num_keys, layout.num_prefix, device)
        self.later_prefix = _later(layout.num_prefix, layout.num_prefix, 0, device)

    def _cut(self, lines: Int[Tensor, "text cell"], part: int, num_parts: int) -> Int[Tensor, "line"]:
        """Where [head, text, cell] stands in a packed matrix that has `num_parts` parts a line."""
        return ((lines * num_parts + part) * self.num_heads + self.heads[:, None, None]).flatten()

    def _keys(self, lines: Int[Tensor, "text cell"]) -> Int[Tensor, "text key"]:
        return torch.cat([self.prefix_lines.expand(self.num_texts, -1), lines], dim=1)

    def _cut_qkv(self, lines: Int[Tensor, "text cell"]) -> Int[Tensor, "line"]:
        keys = self._keys(lines)
        return torch.cat([self._cut(lines, 0, 3), self._cut(keys, 1, 3), self._cut(keys, 2, 3)])

    @cached_property
    def line_of_token(self) -> Int[Tensor, "token"]:
        """Where each token stands in a matrix [prefix; distinct (token, position) pairs]."""
        return torch.cat([self.prefix_lines, self.layout.num_prefix + self.layout.pair_of_token])

    @cached_property
    def cut_pairs(self) -> Int[Tensor, "line"]:
        """Cuts queries, keys and values where text tokens stand packed as distinct (token, position) pairs."""
        return self._cut_qkv(self.line_of_token[self.layout.body.lines])

    @cached_property
    def cut_tokens(self) -> Int[Tensor, "line"]:
        """Cuts queries, keys and values where each token has its line."""
        return self._cut_qkv(self.layout.body.lines)

    @cached_property
    def cut_keys(self) -> Int[Tensor, "line"]:
        """Cuts keys and values that are packed without queries."""
        keys = self._keys(self.layout.body.lines)
        return torch.cat([self._cut(keys, 0, 2), self._cut(keys, 1, 2)])

    @cached_property
    def pack_queries(self) -> Int[Tensor, "token head"]:
        """Where a grid [head, text, cell] holds the heads of each text token's writer."""
        writers = self.layout.body.writers[self.layout.num_prefix :]
        return writers[:, None] + self.heads * (self.num_texts * self.num_queries)

    @cached_property
    def pack_keys(self) -> Int[Tensor, "token key_or_value head"]:
        """Likewise for a grid of keys followed by one of values."""
        writers = self.layout.body.writers[self.layout.num_prefix :]
        prefixes_before = writers.div(self.num_queries, rounding_mode="floor") + 1
        part_and_head = torch.arange(2 * self.num_heads, device=writers.device).view(2, -1)
        first = writers + prefixes_before * self.layout.num_prefix
        return first[:, None, None] + part_and_head * (self.num_texts * self.num_keys)

    @cached_property
    def pack_qkv(self) -> Int[Tensor, "token part head"]:
        """Likewise for a grid of queries followed by keys and values."""
        first_key = self.num_heads * self.num_texts * self.num_queries
        return torch.cat([self.pack_queries[:, None], self.pack_keys + first_key], dim=1)

    @cached_property
    def sharers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cells that share a token with its writer: their text, their key, and the rank of the token among the last."""
        cells = self.layout.body.sharers
        text = cells.div(self.num_queries, rounding_mode="floor")
        tokens, rank = self.layout.body.lines.flatten()[cells].unique(return_inverse=True)
        return text, cells - text * self.num_queries + self.layout.num_prefix, rank, tokens

    def parts(self, grid: Tensor, *sizes: int) -> tuple[Float[Tensor, "head_text cell head_width"], ...]:
        """Views of a grid's parts, which have `sizes` cells a text."""
        num_lines = self.num_heads * self.num_texts
        parts = grid.split([num_lines * size for size in sizes])
        return tuple(part.view(num_lines, size, -1) for part, size in zip(parts, sizes, strict=True))

    def gather(self, packed: Tensor, cut: Int[Tensor, "line"], *sizes: int) -> tuple[Tensor, ...]:
        """The parts of a grid, by one of the indices that cut it out."""
        return self.parts(packed.view(-1, self.head_width).index_select(0, cut), *sizes)

    def room(self, like: Tensor, *sizes: int) -> Float[Tensor, "line head_width"]:
        """A grid to be filled, whose parts have `sizes` cells a text."""
        return like.new_empty(self.num_heads * self.num_texts * sum(sizes), self.head_width)

    def pack(self, grid: Tensor, index: Int[Tensor, "..."], out: Float[Tensor, "token parts"]) -> None:
        """Writes the text tokens' lines of `out`, a packed matrix that begins with the prefix."""
        own = out[self.layout.num_prefix :].view(-1, self.head_width)
        torch.index_select(grid.view(-1, self.head_width), 0, index.flatten(), out=own)

    def of_prefix(self, packed: Tensor, part: int) -> Float[Tensor, "head prefix head_width"]:
        """View of one part of the prefix's lines."""
        columns = packed[: self.layout.num_prefix, part * self.width : (part + 1) * self.width]
        return columns.unflatten(1, (self.num_heads, -1)).transpose(0, 1)

    def sum_of_texts(self, keys: Float[Tensor, "head_text key head_width"]) -> Float[Tensor, "head prefix head_width"]:
        """What a gradient of keys or values says of the prefix: the sum over texts, in float32."""
        prefix = keys[:, : self.layout.num_prefix].unflatten(0, (self.num_heads, -1))
        return prefix.sum(dim=1, dtype=torch.float32)

    def add_sharers(self, packed: Tensor, k: Tensor, v: Tensor) -> None:
        """Adds, to the last two parts of a packed gradient, that of the cells which are not their token's writer."""
        if not len(self.layout.body.sharers):
            return
        text, key, rank, tokens = self.sharers
        for part, grid in enumerate((k, v)):
            read = grid.unflatten(0, (self.num_heads, -1))[:, text, key].float()
            sums = read.new_zeros(self.num_heads, len(tokens), self.head_width).index_add_(1, rank, read)
            columns = packed.unflatten(1, (-1, self.num_heads, self.head_width))[:, part - 2]
            columns[tokens] = (columns[tokens] + sums.transpose(0, 1)).to(packed.dtype)

    def cut_single(self, packed: Float[Tensor, "line d"], cells: Cells) -> Float[Tensor, "head_text cell head_width"]:
        """The heads that `cells` read of a packed matrix of one part."""
        (grid,) = self.gather(packed, self._cut(cells.lines, 0, 1), cells.lines.shape[1])
        return grid

    def cut_gradient(self, packed: Float[Tensor, "line d"], cells: Cells) -> Float[Tensor, "head_text cell head_width"]:
        """The same of a gradient: a line's goes to its writer alone."""
        grid = self.cut_single(packed, cells)
        grid.view(self.num_heads, -1, self.head_width).index_fill_(1, cells.idle, 0)
        return grid

    def pack_single(self, grid: Float[Tensor, "head_text cell head_width"], cells: Cells) -> Float[Tensor, "line d"]:
        """The inverse of `cut_single`."""
        index = cells.writers[:, None] + self.heads * cells.lines.numel()
        return grid.view(-1, self.head_width).index_select(0, index.flatten()).view(-1, self.width)


def _later(num_queries: int, num_keys: int, num_before: int, device: torch.device) -> Float[Tensor, "query key"]:
    """-inf where a key comes after the query; `num_before` keys precede the first query."""
    return torch.full((num_queries, num_keys), -torch.inf, device=device).triu_(num_before + 1)
