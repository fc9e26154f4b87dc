"""GPT-2 blocks over a `TextLayout`: matrix products on packed tokens, attention on a padded grid of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layers import frozen_gpt2 as ops
from layers.text_layout import TextLayout


class Kept(NamedTuple):
    """What the backward pass of one block reads; the last block has no attention within the shared tokens."""

    before_attention: ops.Norm
    rows: ops.Attention
    before_mlp: ops.Norm
    slopes: Tensor
    shared: ops.Attention | None

    def tensors(self) -> list[Tensor]:
        """All tensors, in the order that `of` reads."""
        return [*self.before_attention, *self.rows, *self.before_mlp, self.slopes, *(self.shared or ())]

    @staticmethod
    def of(tensors: list[Tensor]) -> Kept:
        """The inverse of `tensors`."""
        shared = ops.Attention(*tensors[11:]) if len(tensors) > 11 else None
        return Kept(ops.Norm(*tensors[:3]), ops.Attention(*tensors[3:7]), ops.Norm(*tensors[7:10]), tensors[10], shared)


class TextBlocks:
    """Runs blocks forward and backward over the packed tokens of one batch."""

    def __init__(self, layout: TextLayout, *, num_heads: int, head_width: int) -> None:
        self.layout, self.num_heads, self.head_width = layout, num_heads, head_width
        self.width = num_heads * head_width
        device = layout.query_slots.device
        self.heads = torch.arange(num_heads, device=device)
        num_queries, self.num_keys = layout.longest, layout.num_shared + layout.longest
        self.num_lines = num_heads * layout.num_rows
        self.later = _causal(num_queries, self.num_keys, layout.num_shared, device)
        self.later_shared = _causal(layout.num_shared, layout.num_shared, 0, device)
        queries, keys = layout.query_slots, layout.key_slots
        self.cut_qkv = torch.cat([self._cut(queries, 0, 3), self._cut(keys, 1, 3), self._cut(keys, 2, 3)])
        self.cut_kv = torch.cat([self._cut(keys, 0, 2), self._cut(keys, 1, 2)])
        self.cut_heads = self._cut(queries, 0, 1)
        own_queries, own_keys = self._pack(num_queries, 0), self._pack(self.num_keys, layout.num_shared)
        first_key, first_value = self.num_lines * num_queries, self.num_lines * (num_queries + self.num_keys)
        self.pack_heads = own_queries.flatten()
        self.pack_qkv = torch.stack([own_queries, own_keys + first_key, own_keys + first_value], dim=1).flatten()
        self.pack_kv = torch.stack([own_keys, own_keys + self.num_lines * self.num_keys], dim=1).flatten()

    def _cut(self, slots: Int[Tensor, "row cell"], part: int, num_parts: int) -> Int[Tensor, "line"]:
        """Where [head, row, cell] stands in a packed matrix of `num_parts` widths a line, seen head by head."""
        return ((slots * num_parts + part) * self.num_heads + self.heads[:, None, None]).flatten()

    def _pack(self, cells_per_row: int, first: int) -> Int[Tensor, "own_token head"]:
        """Where each own token's heads stand in a grid [head, row, cell] whose own tokens begin at cell `first`."""
        row = self.layout.grid_cells.div(self.layout.longest, rounding_mode="floor")
        cell = row * cells_per_row + self.layout.grid_cells - row * self.layout.longest + first
        return cell[:, None] + self.heads * (self.layout.num_rows * cells_per_row)

    def _packed(self, num_parts: int, like: Tensor) -> Tensor:
        """Room for a packed matrix with an empty last line for the grid's empty cells."""
        packed = like.new_empty(self.layout.num_tokens + 1, num_parts * self.width)
        packed[-1] = 0
        return packed

    def _cut_out(self, packed: Tensor, index: Tensor) -> Tensor:
        return packed.view(-1, self.head_width).index_select(0, index)

    def _pack_into(self, packed: Tensor, grid: Tensor, index: Tensor) -> None:
        """Writes the own tokens' lines of a grid where they stand in `packed`."""
        own = packed[self.layout.num_shared : self.layout.num_tokens].view(-1, self.head_width)
        torch.index_select(grid.view(-1, self.head_width), 0, index, out=own)

    def _lines(self, grid: Tensor, *sizes: int) -> list[Tensor]:
        """Views [head and row, cell, head_width] of the parts of a grid buffer."""
        parts = grid.split([self.num_lines * size for size in sizes])
        return [part.view(self.num_lines, size, -1) for part, size in zip(parts, sizes, strict=True)]

    def _shared(self, packed: Tensor, part: int) -> Tensor:
        """[head, shared token, head_width] view of one part of a packed matrix."""
        columns = packed[: self.layout.num_shared, part * self.width : (part + 1) * self.width]
        return columns.unflatten(1, (self.num_heads, -1)).transpose(0, 1)

    def _sum_of_rows(self, grid: Tensor) -> Tensor:
        """[head, shared token, head_width]: the sum over rows of the shared cells of [head and row, key, width]."""
        shared = grid[:, : self.layout.num_shared].float()
        return shared.unflatten(0, (self.num_heads, -1)).sum(dim=1)

    def forward(self, block: Any, x: Float[Tensor, "token d"], *, keep: bool) -> tuple[Tensor, Kept | None]:
        """The packed stream after a block, and what `backward` needs if `keep`."""
        y, before_attention = ops.normalise(x, block.ln_1)
        attention = block.attn.c_attn
        qkv = self._packed(3, y.to(attention.weight.dtype))
        ops.linear(y, attention, out=qkv[:-1])
        grid = self._cut_out(qkv, self.cut_qkv)
        out, rows = ops.attend(*self._lines(grid, self.layout.longest, self.num_keys, self.num_keys), self.later)
        heads = torch.empty(len(x), self.width, dtype=qkv.dtype, device=x.device)
        self._pack_into(heads, out, self.pack_heads)
        out, shared = ops.attend(*(self._shared(qkv, part).contiguous() for part in range(3)), self.later_shared)
        self._shared(heads, 0).copy_(out)
        x, before_mlp, slopes = _after_attention(block, x, heads, keep=keep)
        return x, Kept(before_attention, rows, before_mlp, slopes, shared) if slopes is not None else None

    def backward(self, block: Any, kept: Kept, grad: Tensor) -> Tensor:
        """Gradient of the packed stream before a block."""
        grad, heads = self._through_mlp(block, kept, grad)
        longest, num_keys = self.layout.longest, self.num_keys
        grid = heads.new_empty(self.num_lines * (longest + 2 * num_keys), self.head_width)
        q, k, v = self._lines(grid, longest, num_keys, num_keys)
        ops.attend_backward(self._cut_out(heads, self.cut_heads).view_as(q), kept.rows, (q, k, v))
        qkv = heads.new_empty(self.layout.num_tokens, 3 * self.width)
        self._pack_into(qkv, grid, self.pack_qkv)
        self._shared_backward(kept, heads, k, v, qkv)
        y = ops.linear_backward(qkv, block.attn.c_attn)
        return grad.add_(ops.normalise_backward(y, kept.before_attention, block.ln_1))

    def first_backward(self, block: Any, kept: Kept, grad: Tensor) -> Float[Tensor, "num_shared d"]:
        """Gradient of the shared tokens before the first block: the rows' own tokens are constants there."""
        grad, heads = self._through_mlp(block, kept, grad)
        queries, num_shared = kept.rows.queries, self.layout.num_shared
        rows_grad = self._cut_out(heads, self.cut_heads).view_as(queries)
        scores = ops.score_gradient(rows_grad, kept.rows)[:, :, :num_shared].transpose(1, 2)
        k = ops.scaled_bmm(
            scores,
            queries,
            torch.empty_like(queries[:1]).new_empty(len(queries), num_shared, self.head_width),
            self.head_width**-0.5,
        )
        v = torch.bmm(kept.rows.weights[:, :, :num_shared].transpose(1, 2), rows_grad)
        qkv = heads.new_empty(num_shared, 3 * self.width)
        self._shared_backward(kept, heads, k, v, qkv)
        y = ops.linear_backward(qkv, block.attn.c_attn)
        before = ops.Norm(*(tensor[:num_shared] for tensor in kept.before_attention))
        return grad[:num_shared] + ops.normalise_backward(y, before, block.ln_1)

    def _shared_backward(self, kept: Kept, heads: Tensor, k: Tensor, v: Tensor, qkv: Tensor) -> None:
        """Writes the gradient of the shared tokens' queries, keys and values: their own and that of every row."""
        assert kept.shared is not None
        grad = self._shared(heads, 0).contiguous()
        own = tuple(torch.empty_like(tensor) for tensor in kept.shared[:3])
        ops.attend_backward(grad, kept.shared, own)
        self._shared(qkv, 0).copy_(own[0])
        self._shared(qkv, 1).copy_(self._sum_of_rows(k).add_(own[1]))
        self._shared(qkv, 2).copy_(self._sum_of_rows(v).add_(own[2]))

    def _through_mlp(self, block: Any, kept: Kept, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the stream between attention and MLP, and of the packed heads (with an empty last line)."""
        y = ops.mlp_backward(block, grad, kept.slopes)
        grad = grad + ops.normalise_backward(y, kept.before_mlp, block.ln_2)
        heads = self._packed(1, kept.slopes)
        torch.mm(grad.to(heads.dtype), block.attn.c_proj.weight.t(), out=heads[:-1])
        return grad, heads

    def last(self, block: Any, x: Float[Tensor, "token d"], *, keep: bool) -> tuple[Tensor, Kept | None]:
        """The stream after the last block at the tails only, [row and state, d]."""
        y, before_attention = ops.normalise(x, block.ln_1)
        weight, bias = block.attn.c_attn.weight, block.attn.c_attn.bias
        y = y.to(weight.dtype)
        tail = self.layout.tail.flatten()
        kv = self._packed(2, y)
        torch.addmm(bias[self.width :], y, weight[:, self.width :], out=kv[:-1])
        q = torch.addmm(bias[: self.width], y[tail], weight[:, : self.width])
        k, v = self._lines(self._cut_out(kv, self.cut_kv), self.num_keys, self.num_keys)
        out, rows = ops.attend(self._by_head(q), k, v, self.layout.tail_hidden)
        x, before_mlp, slopes = _after_attention(block, x[tail], self._by_token(out), keep=keep)
        return x, Kept(before_attention, rows, before_mlp, slopes, None) if slopes is not None else None

    def last_backward(self, block: Any, kept: Kept, grad: Tensor) -> Tensor:
        """Gradient of the packed stream before the last block."""
        y = ops.mlp_backward(block, grad, kept.slopes)
        grad = grad + ops.normalise_backward(y, kept.before_mlp, block.ln_2)
        heads = ops.linear_backward(grad, block.attn.c_proj)
        weight, tail = block.attn.c_attn.weight, self.layout.tail.flatten()
        grid = heads.new_empty(self.num_lines * 2 * self.num_keys, self.head_width)
        q, (k, v) = torch.empty_like(kept.rows.queries), self._lines(grid, self.num_keys, self.num_keys)
        ops.attend_backward(self._by_head(heads), kept.rows, (q, k, v))
        kv = heads.new_empty(self.layout.num_tokens, 2 * self.width)
        self._pack_into(kv, grid, self.pack_kv)
        self._shared(kv, 0).copy_(self._sum_of_rows(k))
        self._shared(kv, 1).copy_(self._sum_of_rows(v))
        y = (kv @ weight[:, self.width :].t()).float()
        y.index_add_(0, tail, (self._by_token(q) @ weight[:, : self.width].t()).float())
        return ops.normalise_backward(y, kept.before_attention, block.ln_1).index_add_(0, tail, grad)

    def _by_head(self, tokens: Tensor) -> Tensor:
        """[row and state, d] as [head and row, state, head_width]."""
        return tokens.view(self.layout.num_rows, -1, self.num_heads, self.head_width).permute(2, 0, 1, 3).flatten(0, 1)

    def _by_token(self, lines: Tensor) -> Tensor:
        """[head and row, state, head_width] as [row and state, d]."""
        return lines.unflatten(0, (self.num_heads, -1)).permute(1, 2, 0, 3).reshape(-1, self.width)


def _causal(num_queries: int, num_keys: int, num_before: int, device: torch.device) -> Tensor:
    """-inf where a key is later than the query, which `num_before` keys precede."""
    return torch.full((num_queries, num_keys), -torch.inf, device=device).triu_(num_before + 1)


def _after_attention(block: Any, x: Tensor, heads: Tensor, *, keep: bool) -> tuple[Tensor, ops.Norm, Tensor | None]:
    x = x + ops.linear(heads, block.attn.c_proj)
    y, before_mlp = ops.normalise(x, block.ln_2)
    out, slopes = ops.mlp(block, y, keep=keep)
    return x + out, before_mlp, slopes
