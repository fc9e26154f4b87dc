"""GPT-2 blocks over a `TextLayout`: matrix products on packed tokens, attention on a padded grid of texts."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layers import frozen_gpt2 as ops
from layers.text_layout import Cells, TextLayout


class Kept(NamedTuple):
    """What the backward pass of one block reads; the last block has no attention within the prefix."""

    before_attention: ops.Norm
    texts: ops.Attention
    before_mlp: ops.Norm
    slopes: Tensor
    prefix: ops.Attention | None

    def tensors(self) -> list[Tensor]:
        """All tensors, in the order that `of` reads."""
        return [*self.before_attention, *self.texts, *self.before_mlp, self.slopes, *(self.prefix or ())]

    @staticmethod
    def of(tensors: list[Tensor]) -> Kept:
        """The inverse of `tensors`."""
        before_attention, before_mlp = ops.Norm._make(tensors[:3]), ops.Norm._make(tensors[7:10])
        texts = ops.Attention._make(tensors[3:7])
        prefix = ops.Attention._make(tensors[11:]) if len(tensors) > 11 else None
        return Kept(before_attention, texts, before_mlp, tensors[10], prefix)


class TextBlocks:
    """Runs blocks forward and backward over the packed tokens of one batch.

    A grid holds lines [head, text, cell] of one head's width; its cells are gathered from the packed matrix by index.
    """

    def __init__(self, layout: TextLayout, *, num_heads: int, head_width: int) -> None:
        self.layout, self.num_heads, self.head_width = layout, num_heads, head_width
        self.width = num_heads * head_width
        self.num_texts, self.num_queries = layout.body.lines.shape
        self.num_keys = layout.num_prefix + self.num_queries
        device = layout.body.lines.device
        self.heads = torch.arange(num_heads, device=device)
        self.later = _later(self.num_queries, self.num_keys, layout.num_prefix, device)
        self.later_prefix = _later(layout.num_prefix, layout.num_prefix, 0, device)

    def _keys(self, lines: Int[Tensor, "text cell"]) -> Int[Tensor, "text key"]:
        prefix = torch.arange(self.layout.num_prefix, device=lines.device)
        return torch.cat([prefix.expand(self.num_texts, -1), lines], dim=1)

    def _cut(self, lines: Int[Tensor, "text cell"], part: int, num_parts: int) -> Int[Tensor, "line"]:
        """Where [head, text, cell] stands in a packed matrix that has `num_parts` widths a line."""
        return ((lines * num_parts + part) * self.num_heads + self.heads[:, None, None]).flatten()

    def _cut_qkv(self, lines: Int[Tensor, "text cell"]) -> Int[Tensor, "line"]:
        keys = self._keys(lines)
        return torch.cat([self._cut(lines, 0, 3), self._cut(keys, 1, 3), self._cut(keys, 2, 3)])

    @cached_property
    def line_of_token(self) -> Int[Tensor, "token"]:
        """Where each token stands in a matrix [prefix; distinct (token, position) pairs]."""
        pair = self.layout.pair_of_token
        return torch.cat([torch.arange(self.layout.num_prefix, device=pair.device), self.layout.num_prefix + pair])

    @cached_property
    def cut_pairs(self) -> Int[Tensor, "line"]:
        """The grid of the first block, whose text tokens stand packed as distinct (token, position) pairs."""
        return self._cut_qkv(self.line_of_token[self.layout.body.lines])

    @cached_property
    def cut_tokens(self) -> Int[Tensor, "line"]:
        """The grid of any later block."""
        return self._cut_qkv(self.layout.body.lines)

    @cached_property
    def cut_kv(self) -> Int[Tensor, "line"]:
        """The grid's keys and values in the last block."""
        keys = self._keys(self.layout.body.lines)
        return torch.cat([self._cut(keys, 0, 2), self._cut(keys, 1, 2)])

    @cached_property
    def pack_body(self) -> Int[Tensor, "line"]:
        """Where a grid of queries holds the heads of each text token."""
        writers = self.layout.body.writers[self.layout.num_prefix :]
        return (writers[:, None] + self.heads * (self.num_texts * self.num_queries)).flatten()

    @cached_property
    def pack_kv(self) -> Int[Tensor, "token part head"]:
        """Where a grid of keys and values holds the heads of each text token's writer."""
        writers = self.layout.body.writers[self.layout.num_prefix :]
        cells_before = self.layout.num_prefix * (writers.div(self.num_queries, rounding_mode="floor") + 1)
        part_and_head = torch.arange(2 * self.num_heads, device=writers.device).view(2, -1)
        return (writers + cells_before)[:, None, None] + part_and_head * (self.num_texts * self.num_keys)

    @cached_property
    def sharers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cells that share a token with its writer: their text, their key, and the rank of the token among the last."""
        cells, body = self.layout.body.sharers, self.layout.body
        text = cells.div(self.num_queries, rounding_mode="floor")
        tokens, rank = body.lines.flatten()[cells].unique(return_inverse=True)
        return text, cells - text * self.num_queries + self.layout.num_prefix, rank, tokens

    def _gather(self, packed: Tensor, index: Tensor, *sizes: int) -> tuple[Tensor, ...]:
        """Parts of a grid, [head and text, cell, head_width] with `sizes` cells."""
        return self._parts(packed.view(-1, self.head_width).index_select(0, index), *sizes)

    def _parts(self, grid: Tensor, *sizes: int) -> tuple[Tensor, ...]:
        num_lines = self.num_heads * self.num_texts
        parts = grid.split([num_lines * size for size in sizes])
        return tuple(part.view(num_lines, size, -1) for part, size in zip(parts, sizes, strict=True))

    def _of_prefix(self, packed: Tensor, part: int) -> Float[Tensor, "head prefix head_width"]:
        columns = packed[: self.layout.num_prefix, part * self.width : (part + 1) * self.width]
        return columns.unflatten(1, (self.num_heads, -1)).transpose(0, 1)

    def forward(
        self, block: Any, x: Float[Tensor, "line d"], cut: Tensor, expand: Tensor | None = None, *, keep: bool
    ) -> tuple[Float[Tensor, "token d"], Kept | None]:
        """The stream after a block, and what `backward` needs if `keep`; `expand` gives the lines of x by token."""
        y, before_attention = ops.normalise(x, block.ln_1)
        qkv = ops.linear(y, block.attn.c_attn)
        x = x if expand is None else x.index_select(0, expand)
        q, k, v = self._gather(qkv, cut, self.num_queries, self.num_keys, self.num_keys)
        out, texts = ops.attend(q, k, v, self.later)
        heads = qkv.new_empty(len(x), self.width)
        own = heads[self.layout.num_prefix :].view(-1, self.head_width)
        torch.index_select(out.view(-1, self.head_width), 0, self.pack_body, out=own)
        prefix = None
        if self.layout.num_prefix:
            q, k, v = (self._of_prefix(qkv, part).contiguous() for part in range(3))
            out, prefix = ops.attend(q, k, v, self.later_prefix)
            self._of_prefix(heads, 0).copy_(out)
        x, before_mlp, slopes = ops.add_mlp(block, x + ops.linear(heads, block.attn.c_proj), keep=keep)
        return x, None if slopes is None else Kept(before_attention, texts, before_mlp, slopes, prefix)

    def backward(self, block: Any, kept: Kept, grad: Float[Tensor, "token d"]) -> Float[Tensor, "token d"]:
        """Gradient of the stream before a block."""
        grad, heads = _before_mlp_backward(block, kept, grad)
        sizes = self.num_queries, self.num_keys, self.num_keys
        grid = heads.new_empty(self.num_heads * self.num_texts * sum(sizes), self.head_width)
        q, k, v = self._parts(grid, *sizes)
        grad_of_grid = self._cut_gradient(heads, self.layout.body)
        ops.attend_backward(grad_of_grid, kept.texts, (q, k, v))
        qkv = heads.new_empty(self.layout.num_tokens, 3 * self.width)
        own = qkv[self.layout.num_prefix :].view(-1, self.head_width)
        first_key = len(q) * self.num_queries
        index = torch.cat([self.pack_body.view(-1, 1, self.num_heads), self.pack_kv + first_key], dim=1)
        torch.index_select(grid, 0, index.flatten(), out=own)
        self._add_sharers(qkv, k, v)
        self._prefix_backward(kept, heads, k, v, qkv)
        y = ops.linear_backward(qkv, block.attn.c_attn)
        return grad.add_(ops.normalise_backward(y, kept.before_attention, block.ln_1))

    def first_backward(self, block: Any, kept: Kept, grad: Tensor) -> Float[Tensor, "prefix d"]:
        """Gradient of the prefix before the first block, where text tokens are constants."""
        num_prefix, scale = self.layout.num_prefix, self.head_width**-0.5
        grad, heads = _before_mlp_backward(block, kept, grad)
        grad_of_grid = self._cut_gradient(heads, self.layout.body)
        scores = ops.score_gradient(grad_of_grid, kept.texts)
        k = torch.bmm(scores[:, :, :num_prefix].transpose(1, 2), kept.texts.queries).mul_(scale)
        v = torch.bmm(kept.texts.weights[:, :, :num_prefix].transpose(1, 2), grad_of_grid)
        qkv = heads.new_empty(num_prefix, 3 * self.width)
        self._prefix_backward(kept, heads, k, v, qkv)
        y = ops.linear_backward(qkv, block.attn.c_attn)
        before = ops.Norm(*(tensor[:num_prefix] for tensor in kept.before_attention))
        return grad[:num_prefix] + ops.normalise_backward(y, before, block.ln_1)

    def _cut_gradient(self, heads: Float[Tensor, "line d"], cells: Cells) -> Float[Tensor, "head_text cell head_width"]:
        """The gradient of a grid's cells: a line's goes to its writer alone."""
        (grid,) = self._gather(heads, self._cut(cells.lines, 0, 1), cells.lines.shape[1])
        grid.view(self.num_heads, -1, self.head_width).index_fill_(1, cells.idle, 0)
        return grid

    def _prefix_backward(self, kept: Kept, heads: Tensor, k: Tensor, v: Tensor, qkv: Tensor) -> None:
        """Writes the gradient of the prefix's queries, keys and values: from itself and from every text."""
        assert kept.prefix is not None
        own_q, own_k, own_v = (torch.empty_like(tensor) for tensor in kept.prefix[:3])
        ops.attend_backward(self._of_prefix(heads, 0).contiguous(), kept.prefix, (own_q, own_k, own_v))
        self._of_prefix(qkv, 0).copy_(own_q)
        self._of_prefix(qkv, 1).copy_(self._sum_of_texts(k).add_(own_k))
        self._of_prefix(qkv, 2).copy_(self._sum_of_texts(v).add_(own_v))

    def _sum_of_texts(self, keys: Float[Tensor, "head_text key head_width"]) -> Float[Tensor, "head prefix head_width"]:
        prefix = keys[:, : self.layout.num_prefix].unflatten(0, (self.num_heads, -1))
        return prefix.sum(dim=1, dtype=torch.float32)

    def _add_sharers(self, packed: Tensor, k: Tensor, v: Tensor) -> None:
        """Adds, to the last two parts of a packed gradient, that of the cells which are not their token's writer."""
        text, key, rank, tokens = self.sharers
        for part, grid in enumerate((k, v)):
            read = grid.unflatten(0, (self.num_heads, -1))[:, text, key].float()
            sums = read.new_zeros(self.num_heads, len(tokens), self.head_width).index_add_(1, rank, read)
            columns = packed.unflatten(1, (-1, self.num_heads, self.head_width))[:, part - 2]
            columns[tokens] = (columns[tokens] + sums.transpose(0, 1)).to(packed.dtype)

    def last(self, block: Any, x: Float[Tensor, "token d"], *, keep: bool) -> tuple[Tensor, Kept | None]:
        """The stream after the last block, [tail token, d], and what `last_backward` needs if `keep`."""
        y, before_attention = ops.normalise(x, block.ln_1)
        weight, bias, tail = block.attn.c_attn.weight, block.attn.c_attn.bias, self.layout.tail_tokens
        y = y.to(weight.dtype)
        kv = ops.multiply(y, weight[:, self.width :], bias[self.width :])
        q = ops.multiply(y.index_select(0, tail), weight[:, : self.width], bias[: self.width])
        k, v = self._gather(kv, self.cut_kv, self.num_keys, self.num_keys)
        (q,) = self._gather(q, self._cut(self.layout.tail.lines, 0, 1), self.layout.tail.lines.shape[1])
        out, texts = ops.attend(q, k, v, self.layout.tail_hidden)
        heads = out.view(-1, self.head_width).index_select(0, self._pack_tail()).view(len(tail), -1)
        x, before_mlp, slopes = ops.add_mlp(
            block, x.index_select(0, tail) + ops.linear(heads, block.attn.c_proj), keep=keep
        )
        return x, None if slopes is None else Kept(before_attention, texts, before_mlp, slopes, None)

    def last_backward(self, block: Any, kept: Kept, grad: Float[Tensor, "tail_token d"]) -> Float[Tensor, "token d"]:
        """Gradient of the stream before the last block."""
        weight, tail = block.attn.c_attn.weight, self.layout.tail_tokens
        grad, heads = _before_mlp_backward(block, kept, grad)
        q = torch.empty_like(kept.texts.queries)
        grid = heads.new_empty(2 * len(q) * self.num_keys, self.head_width)
        k, v = self._parts(grid, self.num_keys, self.num_keys)
        ops.attend_backward(self._cut_gradient(heads, self.layout.tail), kept.texts, (q, k, v))
        kv = heads.new_empty(self.layout.num_tokens, 2 * self.width)
        own = kv[self.layout.num_prefix :].view(-1, self.head_width)
        torch.index_select(grid, 0, self.pack_kv.flatten(), out=own)
        self._add_sharers(kv, k, v)
        self._of_prefix(kv, 0).copy_(self._sum_of_texts(k))
        self._of_prefix(kv, 1).copy_(self._sum_of_texts(v))
        y = ops.multiply(kv, weight[:, self.width :].t()).float()
        q = q.view(-1, self.head_width).index_select(0, self._pack_tail()).view(len(tail), -1)
        y.index_add_(0, tail, ops.multiply(q, weight[:, : self.width].t()).float())
        return ops.normalise_backward(y, kept.before_attention, block.ln_1).index_add_(0, tail, grad)

    def _pack_tail(self) -> Int[Tensor, "line"]:
        """Where a grid of the tails' queries holds the heads of each tail token."""
        return (self.layout.tail.writers[:, None] + self.heads * self.layout.tail.lines.numel()).flatten()


def _later(num_queries: int, num_keys: int, num_before: int, device: torch.device) -> Tensor:
    """-inf where a key comes after the query; `num_before` keys precede the first query."""
    return torch.full((num_queries, num_keys), -torch.inf, device=device).triu_(num_before + 1)


def _before_mlp_backward(block: Any, kept: Kept, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the stream between attention and MLP, and of the packed heads."""
    grad = ops.add_mlp_backward(block, grad, kept.before_mlp, kept.slopes)
    return grad, ops.linear_backward(grad, block.attn.c_proj)
