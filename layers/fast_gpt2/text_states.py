"""BALM's text branch: a frozen GPT-2 reads [learnable prefix; prompt tokens] of every row, the last states are kept.

Exact and much cheaper than a plain forward: what all rows have in common runs once, the last block runs only where it
is read, padding costs nothing, and only what the prefix's gradient needs is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import GPT2Model

from layers.fast_gpt2 import operations as ops
from layers.fast_gpt2.blocks import (
    SavedActivations,
    block_backward,
    first_block_backward,
    last_block_backward,
    run_block,
    run_last_block,
)
from layers.fast_gpt2.grid import TextGrid
from layers.fast_gpt2.layout import TextLayout

Padding = Literal["aligned", "published"]
Function = TypeVar("Function", bound=Callable[..., Tensor])


def _not_compiled(function: Function) -> Function:
    """`function`, passed by by torch.compile: its products are oneDNN's, its shapes differ from batch to batch."""
    return torch.compiler.disable(function)  # type: ignore[return-value]


@_not_compiled
def text_states(
    gpt2: GPT2Model,
    prefix: Float[Tensor, "num_prefix d"] | None,
    ids: Int[Tensor, "row width"],
    lengths: Int[Tensor, "row"],
    num_states: int,
    *,
    padding: Padding,
    pad_id: int,
    dropout: bool = False,
) -> Float[Tensor, "row {num_states} d"]:
    """The last `num_states` states, float32, of GPT-2 (after its final layer norm) on [prefix; the row's tokens].

    `ids` holds a row's `lengths` tokens first, then anything. `aligned`: every row ends at its own last token and
    padding is unseen. `published`: rows are filled with `pad_id` up to the longest and padding counts as text.
    `dropout` is the published training behaviour: GPT-2's own dropout is active, and nothing can be shared by rows.
    Only the prefix gets a gradient. ValueError when prefix and text of a row are shorter than `num_states`.
    """
    if padding == "published":
        ids, lengths = _filled(ids, lengths, pad_id)
    prefix = gpt2.wte.weight.new_zeros(0, gpt2.config.n_embd) if prefix is None else prefix
    with torch.autocast(ids.device.type, enabled=False):
        if dropout:
            return _states_under_dropout(gpt2, prefix, ids, lengths, num_states)
        layout = TextLayout.of(ids, lengths, num_prefix=len(prefix), num_states=num_states)
        if torch.is_grad_enabled() and prefix.requires_grad:
            return _by_row(_TextStates.apply(prefix, gpt2, layout), layout)
        with torch.no_grad():
            return _by_row(_run(prefix, gpt2, layout, keep=False)[0], layout)


def _filled(ids: Tensor, lengths: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    longest = int(lengths.max())
    padded = torch.arange(longest, device=ids.device) >= lengths[:, None]
    return ids[:, :longest].masked_fill(padded, pad_id), torch.full_like(lengths, longest)


def _states_under_dropout(gpt2: GPT2Model, prefix: Tensor, ids: Tensor, lengths: Tensor, num_states: int) -> Tensor:
    shared = prefix.to(gpt2.wte.weight.dtype).expand(len(ids), -1, -1)
    total = len(prefix) + lengths
    visible = torch.arange(len(prefix) + ids.shape[1], device=ids.device) < total[:, None]
    was_training = gpt2.training
    gpt2.train()
    try:
        states = gpt2(
            inputs_embeds=torch.cat([shared, gpt2.wte(ids)], dim=1), attention_mask=visible.long(), use_cache=False
        ).last_hidden_state
    finally:
        gpt2.train(was_training)
    tail = total[:, None] - num_states + torch.arange(num_states, device=ids.device)
    return states.gather(1, tail[:, :, None].expand(-1, -1, states.shape[-1])).float()


def _run(
    prefix: Tensor, gpt2: GPT2Model, layout: TextLayout, *, keep: bool
) -> tuple[Float[Tensor, "tail_token d"], ops.Norm, TextGrid, list[SavedActivations]]:
    """States of the tail tokens, and what the backward pass needs if `keep`."""
    num_heads, num_blocks = gpt2.config.n_head, len(gpt2.h)
    grid = TextGrid(layout, num_heads=num_heads, head_width=gpt2.config.n_embd // num_heads)
    pairs = gpt2.wte.weight[layout.pair_ids].float() + gpt2.wpe.weight[layout.pair_positions].float()
    x = torch.cat([prefix.float() + gpt2.wpe.weight[: len(prefix)].float(), pairs])
    kept = []
    for i, block in enumerate(gpt2.h):
        if i < num_blocks - 1:
            x, of_block = run_block(grid, block, x, first=i == 0, keep=keep)
        else:
            x = x if i else x.index_select(0, grid.line_of_token)
            x, of_block = run_last_block(grid, block, x, keep=keep)
        if of_block is not None:
            kept.append(of_block)
    return *ops.normalise(x, gpt2.ln_f), grid, kept


def _by_row(states: Float[Tensor, "tail_token d"], layout: TextLayout) -> Float[Tensor, "row state d"]:
    index = layout.tail.lines[layout.text_of_row]
    return states.index_select(0, index.flatten()).view(*index.shape, -1)


class _TextStates(torch.autograd.Function):
    """States of the tail tokens with the gradient of the prefix.

    What the backward pass reads stands in `ctx` itself rather than among its saved tensors, so that each block's can be
    freed as soon as it was read.
    """

    @staticmethod
    def forward(ctx: Any, prefix: Tensor, gpt2: GPT2Model, layout: TextLayout) -> Tensor:  # type: ignore[override]
        states, ctx.before_end, ctx.grid, ctx.kept = _run(prefix, gpt2, layout, keep=True)
        ctx.gpt2, ctx.dtype = gpt2, prefix.dtype
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        gpt2, grid, kept, ctx.kept = ctx.gpt2, ctx.grid, ctx.kept, None
        if kept is None:
            raise RuntimeError("the text states' graph was freed by a first backward pass; compute the states again")
        grad = ops.normalise_backward(grad, ctx.before_end, gpt2.ln_f)
        grad = last_block_backward(grid, gpt2.h[-1], kept, grad)
        while kept:
            through = block_backward if len(kept) > 1 else first_block_backward
            grad = through(grid, gpt2.h[len(kept) - 1], kept, grad)
        return grad[: grid.layout.num_prefix].to(ctx.dtype), None, None
