"""GPT-2 blocks, forward and backward: matrix products on packed tokens, attention on the grid of texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layers import frozen_gpt2 as ops
from layers.text_grid import TextGrid


class Kept(NamedTuple):
    """What the backward pass of one block reads; the last block has no attention within the prefix."""

    before_attention: ops.Norm
    texts: ops.Attention
    before_mlp: ops.Norm
    gelu: Tensor
    prefix: ops.Attention | None

    def tensors(self) -> list[Tensor]:
        """All tensors, in the order that `of` reads."""
        return [*self.before_attention, *self.texts, *self.before_mlp, self.gelu, *(self.prefix or ())]

    @staticmethod
    def of(tensors: list[Tensor]) -> Kept:
        """The inverse of `tensors`."""
        before_attention, before_mlp = ops.Norm._make(tensors[:3]), ops.Norm._make(tensors[7:10])
        prefix = ops.Attention._make(tensors[11:]) if len(tensors) > 11 else None
        return Kept(before_attention, ops.Attention._make(tensors[3:7]), before_mlp, tensors[10], prefix)


def run_block(
    grid: TextGrid, block: Any, x: Float[Tensor, "line d"], *, first: bool, keep: bool
) -> tuple[Float[Tensor, "token d"], Kept | None]:
    """The stream after a block, and what its backward pass needs if `keep`.

    The first block reads [prefix; distinct (token, position) pairs]: before attention, equal pairs are equal.
    """
    y, before_attention = ops.normalise(x, block.ln_1)
    qkv = ops.linear(y, block.attn.c_attn)
    x = x.index_select(0, grid.line_of_token) if first else x
    cut = grid.cut_pairs if first else grid.cut_tokens
    q, k, v = grid.gather(qkv, cut, grid.num_queries, grid.num_keys, grid.num_keys)
    out, texts = ops.attend(q, k, v, grid.later)
    heads = qkv.new_empty(len(x), grid.width)
    grid.pack(out, grid.pack_queries, heads)
    prefix = None
    if grid.layout.num_prefix:
        q, k, v = (grid.of_prefix(qkv, part).contiguous() for part in range(3))
        out, prefix = ops.attend(q, k, v, grid.later_prefix)
        grid.of_prefix(heads, 0).copy_(out)
    x, before_mlp, gelu = ops.add_mlp(block, x + ops.linear(heads, block.attn.c_proj), keep=keep)
    return x, None if gelu is None else Kept(before_attention, texts, before_mlp, gelu, prefix)


def block_backward(grid: TextGrid, block: Any, kept: Kept, grad: Float[Tensor, "token d"]) -> Float[Tensor, "token d"]:
    """Gradient of the stream before a block."""
    grad, heads = _before_mlp_backward(block, kept, grad)
    lines = grid.room(heads, grid.num_queries, grid.num_keys, grid.num_keys)
    q, k, v = grid.parts(lines, grid.num_queries, grid.num_keys, grid.num_keys)
    ops.attend_backward(grid.cut_gradient(heads, grid.layout.body), kept.texts, (q, k, v))
    qkv = heads.new_empty(len(heads), 3 * grid.width)
    grid.pack(lines, grid.pack_qkv, qkv)
    grid.add_sharers(qkv, k, v)
    _prefix_backward(grid, kept, heads, k, v, qkv)
    y = ops.linear_backward(qkv, block.attn.c_attn)
    return grad.add_(ops.normalise_backward(y, kept.before_attention, block.ln_1))


def first_block_backward(
    grid: TextGrid, block: Any, kept: Kept, grad: Float[Tensor, "token d"]
) -> Float[Tensor, "prefix d"]:
    """Gradient of the prefix before the first block, where text tokens are constants."""
    num_prefix = grid.layout.num_prefix
    grad, heads = _before_mlp_backward(block, kept, grad)
    grad_of_texts = grid.cut_gradient(heads, grid.layout.body)
    scores = ops.score_gradient(grad_of_texts, kept.texts)
    k = torch.bmm(scores[:, :, :num_prefix].transpose(1, 2), kept.texts.queries).mul_(grid.head_width**-0.5)
    v = torch.bmm(kept.texts.weights[:, :, :num_prefix].transpose(1, 2), grad_of_texts)
    qkv = heads.new_empty(num_prefix, 3 * grid.width)
    _prefix_backward(grid, kept, heads, k, v, qkv)
    y = ops.linear_backward(qkv, block.attn.c_attn)
    before = ops.Norm(*(tensor[:num_prefix] for tensor in kept.before_attention))
    return grad[:num_prefix] + ops.normalise_backward(y, before, block.ln_1)


def run_last_block(
    grid: TextGrid, block: Any, x: Float[Tensor, "token d"], *, keep: bool
) -> tuple[Float[Tensor, "tail_token d"], Kept | None]:
    """The stream after the last block, where it is read, and what the backward pass needs if `keep`."""
    y, before_attention = ops.normalise(x, block.ln_1)
    weight, bias, width = block.attn.c_attn.weight, block.attn.c_attn.bias, grid.width
    y, tail = y.to(weight.dtype), grid.layout.tail_tokens
    kv = ops.multiply(y, weight[:, width:], bias[width:])
    q = ops.multiply(y.index_select(0, tail), weight[:, :width], bias[:width])
    k, v = grid.gather(kv, grid.cut_keys, grid.num_keys, grid.num_keys)
    out, texts = ops.attend(grid.cut_single(q, grid.layout.tail), k, v, grid.layout.tail_hidden)
    heads = ops.linear(grid.pack_single(out, grid.layout.tail), block.attn.c_proj)
    x, before_mlp, gelu = ops.add_mlp(block, x.index_select(0, tail) + heads, keep=keep)
    return x, None if gelu is None else Kept(before_attention, texts, before_mlp, gelu, None)


def last_block_backward(
    grid: TextGrid, block: Any, kept: Kept, grad: Float[Tensor, "tail_token d"]
) -> Float[Tensor, "token d"]:
    """Gradient of the stream before the last block."""
    weight, tail, width = block.attn.c_attn.weight, grid.layout.tail_tokens, grid.width
    grad, heads = _before_mlp_backward(block, kept, grad)
    lines = grid.room(heads, grid.num_keys, grid.num_keys)
    q, (k, v) = torch.empty_like(kept.texts.queries), grid.parts(lines, grid.num_keys, grid.num_keys)
    ops.attend_backward(grid.cut_gradient(heads, grid.layout.tail), kept.texts, (q, k, v))
    kv = heads.new_empty(grid.layout.num_tokens, 2 * width)
    grid.pack(lines, grid.pack_keys, kv)
    grid.add_sharers(kv, k, v)
    grid.of_prefix(kv, 0).copy_(grid.sum_of_texts(k))
    grid.of_prefix(kv, 1).copy_(grid.sum_of_texts(v))
    y = ops.multiply(kv, weight[:, width:].t()).float()
    q = grid.pack_single(q, grid.layout.tail)
    y.index_add_(0, tail, ops.multiply(q, weight[:, :width].t()).float())
    return ops.normalise_backward(y, kept.before_attention, block.ln_1).index_add_(0, tail, grad)


def _before_mlp_backward(block: Any, kept: Kept, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the stream between attention and MLP, and of the packed heads."""
    grad = ops.add_mlp_backward(block, grad, kept.before_mlp, kept.gelu)
    return grad, ops.linear_backward(grad, block.attn.c_proj)


def _prefix_backward(grid: TextGrid, kept: Kept, heads: Tensor, k: Tensor, v: Tensor, qkv: Tensor) -> None:
    """Writes the gradient of the prefix's queries, keys and values: from itself and from every text."""
    assert kept.prefix is not None
    own_q, own_k, own_v = (torch.empty_like(tensor) for tensor in kept.prefix[:3])
    ops.attend_backward(grid.of_prefix(heads, 0).contiguous(), kept.prefix, (own_q, own_k, own_v))
    grid.of_prefix(qkv, 0).copy_(own_q)
    grid.of_prefix(qkv, 1).copy_(grid.sum_of_texts(k).add_(own_k))
    grid.of_prefix(qkv, 2).copy_(grid.sum_of_texts(v).add_(own_v))
