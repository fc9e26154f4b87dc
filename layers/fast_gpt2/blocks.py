"""GPT-2 blocks, forward and backward: matrix products on packed tokens, attention on the grid of texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layers.fast_gpt2 import operations as ops
from layers.fast_gpt2.grid import TextGrid


class SavedActivations(NamedTuple):
    """What the backward pass of one block reads; the last block has no attention within the prefix."""

    before_attention: ops.Norm
    texts: ops.Heads
    prefix: ops.Heads | None
    before_mlp: ops.Norm
    gelu: Tensor


def run_block(
    grid: TextGrid, block: Any, x: Float[Tensor, "line d"], *, first: bool, keep: bool
) -> tuple[Float[Tensor, "token d"], SavedActivations | None]:
    """The stream after a block, and what its backward pass needs if `keep`.

    The first block reads [prefix; distinct (token, position) pairs]: before attention, equal pairs are equal.
    """
    y, before_attention = ops.normalise(x, block.ln_1)
    qkv = ops.linear(y, block.attn.c_attn)
    x = x.index_select(0, grid.line_of_token) if first else x
    cut = grid.cut_pairs if first else grid.cut_tokens
    texts = ops.Heads._make(grid.gather(qkv, cut, grid.num_queries, grid.num_keys, grid.num_keys))
    heads = qkv.new_empty(len(x), grid.width)
    grid.pack(ops.attend(texts, grid.later), grid.pack_queries, heads)
    prefix = None
    if grid.layout.num_prefix:
        prefix = ops.Heads._make(grid.of_prefix(qkv, part).contiguous() for part in range(3))
        grid.of_prefix(heads, 0).copy_(ops.attend(prefix, grid.later_prefix))
    del y, qkv  # large, and the MLP is where most memory is held
    x, before_mlp, gelu = ops.add_mlp(block, x + ops.linear(heads, block.attn.c_proj), keep=keep)
    return x, None if gelu is None else SavedActivations(before_attention, texts, prefix, before_mlp, gelu)


def block_backward(
    grid: TextGrid, block: Any, stack: list[SavedActivations], grad: Float[Tensor, "token d"]
) -> Float[Tensor, "token d"]:
    """Gradient of the stream before a block, whose `SavedActivations` is the last on the stack and is taken off."""
    kept, grad, heads = _before_mlp_backward(block, stack, grad)
    lines = grid.room(heads, grid.num_queries, grid.num_keys, grid.num_keys)
    texts = ops.Heads._make(grid.parts(lines, grid.num_queries, grid.num_keys, grid.num_keys))
    ops.attend_backward(grid.cut_gradient(heads, grid.layout.body), kept.texts, grid.later, texts)
    qkv = heads.new_empty(len(heads), 3 * grid.width)
    grid.pack(lines, grid.pack_qkv, qkv)
    grid.add_sharers(qkv, texts.keys, texts.values)
    _prefix_backward(grid, kept, heads, texts.keys, texts.values, out=qkv)
    y = ops.linear_backward(qkv, block.attn.c_attn)
    return grad.add_(ops.normalise_backward(y, kept.before_attention, block.ln_1))


def first_block_backward(
    grid: TextGrid, block: Any, stack: list[SavedActivations], grad: Float[Tensor, "token d"]
) -> Float[Tensor, "prefix d"]:
    """Gradient of the prefix before the first block, where text tokens are constants."""
    num_prefix = grid.layout.num_prefix
    kept, grad, heads = _before_mlp_backward(block, stack, grad)
    grad_of_texts = grid.cut_gradient(heads, grid.layout.body)
    weights, scores = ops.score_gradient(grad_of_texts, kept.texts, grid.later)
    k = torch.bmm(scores[:, :, :num_prefix].transpose(1, 2), kept.texts.queries).mul_(grid.head_width**-0.5)
    v = torch.bmm(weights[:, :, :num_prefix].transpose(1, 2), grad_of_texts)
    qkv = heads.new_empty(num_prefix, 3 * grid.width)
    _prefix_backward(grid, kept, heads, k, v, out=qkv)
    y = ops.linear_backward(qkv, block.attn.c_attn)
    before = ops.Norm(*(tensor[:num_prefix] for tensor in kept.before_attention))
    return grad[:num_prefix] + ops.normalise_backward(y, before, block.ln_1)


def run_last_block(
    grid: TextGrid, block: Any, x: Float[Tensor, "token d"], *, keep: bool
) -> tuple[Float[Tensor, "tail_token d"], SavedActivations | None]:
    """The stream after the last block, where it is read, and what the backward pass needs if `keep`."""
    y, before_attention = ops.normalise(x, block.ln_1)
    weight, bias, width = block.attn.c_attn.weight, block.attn.c_attn.bias, grid.width
    y, tail = y.to(weight.dtype), grid.layout.tail_tokens
    kv = ops.multiply(y, weight[:, width:], bias[width:])
    q = ops.multiply(y.index_select(0, tail), weight[:, :width], bias[:width])
    k, v = grid.gather(kv, grid.cut_keys, grid.num_keys, grid.num_keys)
    texts = ops.Heads(grid.cut_single(q, grid.layout.tail), k, v)
    heads = grid.pack_single(ops.attend(texts, grid.layout.tail_hidden), grid.layout.tail)
    x = x.index_select(0, tail) + ops.linear(heads, block.attn.c_proj)
    x, before_mlp, gelu = ops.add_mlp(block, x, keep=keep)
    return x, None if gelu is None else SavedActivations(before_attention, texts, None, before_mlp, gelu)


def last_block_backward(
    grid: TextGrid, block: Any, stack: list[SavedActivations], grad: Float[Tensor, "tail_token d"]
) -> Float[Tensor, "token d"]:
    """Gradient of the stream before the last block."""
    weight, tail, width = block.attn.c_attn.weight, grid.layout.tail_tokens, grid.width
    kept, grad, heads = _before_mlp_backward(block, stack, grad)
    lines = grid.room(heads, grid.num_keys, grid.num_keys)
    q, (k, v) = torch.empty_like(kept.texts.queries), grid.parts(lines, grid.num_keys, grid.num_keys)
    grad_of_texts = grid.cut_gradient(heads, grid.layout.tail)
    ops.attend_backward(grad_of_texts, kept.texts, grid.layout.tail_hidden, ops.Heads(q, k, v))
    kv = heads.new_empty(grid.layout.num_tokens, 2 * width)
    grid.pack(lines, grid.pack_keys, kv)
    grid.add_sharers(kv, k, v)
    grid.of_prefix(kv, 0).copy_(grid.sum_of_texts(k))
    grid.of_prefix(kv, 1).copy_(grid.sum_of_texts(v))
    y = ops.multiply(kv, weight[:, width:].t()).float()
    q = grid.pack_single(q, grid.layout.tail)
    y.index_add_(0, tail, ops.multiply(q, weight[:, :width].t()).float())
    return ops.normalise_backward(y, kept.before_attention, block.ln_1).index_add_(0, tail, grad)


def _before_mlp_backward(
    block: Any, stack: list[SavedActivations], grad: Tensor
) -> tuple[SavedActivations, Tensor, Tensor]:
    """Pops a block's activations; gradients of the stream between attention and MLP, and of the packed heads.

    What the MLP needed, the larger half of it, is freed before attention asks for memory.
    """
    kept = stack.pop()
    grad = ops.add_mlp_backward(block, grad, kept.before_mlp, kept.gelu)
    empty = kept.gelu.new_empty(0)
    kept = kept._replace(before_mlp=ops.Norm(empty, empty, empty), gelu=empty)
    return kept, grad, ops.linear_backward(grad, block.attn.c_proj)


def _prefix_backward(
    grid: TextGrid, kept: SavedActivations, heads: Tensor, k: Tensor, v: Tensor, *, out: Tensor
) -> None:
    """Writes the gradient of the prefix's queries, keys and values: from itself and from every text."""
    assert kept.prefix is not None
    own = ops.Heads._make(torch.empty_like(tensor) for tensor in kept.prefix)
    ops.attend_backward(grid.of_prefix(heads, 0).contiguous(), kept.prefix, grid.later_prefix, own)
    grid.of_prefix(out, 0).copy_(own.queries)
    grid.of_prefix(out, 1).copy_(grid.sum_of_texts(k).add_(own.keys))
    grid.of_prefix(out, 2).copy_(grid.sum_of_texts(v).add_(own.values))
