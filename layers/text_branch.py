"""BALM's text branch: a frozen GPT-2 reads [learnable prefix; prompt tokens] of every row, the last states are kept.

Exact and much cheaper than a plain forward: the prefix, alike in all rows, runs once; the last block runs only at the
positions that are read; weights get no gradient; nothing that does not depend on the prefix builds a graph.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Model

Padding = Literal["aligned", "published"]


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
    """
    if padding == "published":
        ids, lengths = _filled(ids, lengths, pad_id)
    prefix = gpt2.wte.weight.new_zeros(0, gpt2.config.n_embd) if prefix is None else prefix
    with torch.autocast(ids.device.type, enabled=False):
        if dropout:
            return _plain_states(gpt2, prefix, ids, lengths, num_states)
        return _shared_prefix_states(gpt2, prefix, ids, lengths, num_states)


def _filled(ids: Tensor, lengths: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    longest = int(lengths.max())
    padded = torch.arange(longest, device=ids.device) >= lengths[:, None]
    return ids[:, :longest].masked_fill(padded, pad_id), torch.full_like(lengths, longest)


def _tail_positions(num_prefix: int, lengths: Tensor, num_states: int) -> Int[Tensor, "row num_states"]:
    """Positions in [prefix; text] of each row's last states."""
    return (num_prefix + lengths)[:, None] - num_states + torch.arange(num_states, device=lengths.device)


def _plain_states(gpt2: GPT2Model, prefix: Tensor, ids: Tensor, lengths: Tensor, num_states: int) -> Tensor:
    dtype = gpt2.wte.weight.dtype
    shared = prefix.to(dtype).expand(len(ids), -1, -1)
    visible = torch.arange(len(prefix) + ids.shape[1], device=ids.device) < (len(prefix) + lengths)[:, None]
    was_training = gpt2.training
    gpt2.train()
    try:
        states = gpt2(
            inputs_embeds=torch.cat([shared, gpt2.wte(ids)], dim=1), attention_mask=visible.long(), use_cache=False
        ).last_hidden_state
    finally:
        gpt2.train(was_training)
    tail = _tail_positions(len(prefix), lengths, num_states)
    return states.gather(1, tail[:, :, None].expand(-1, -1, states.shape[-1])).float()


def _shared_prefix_states(gpt2: GPT2Model, prefix: Tensor, ids: Tensor, lengths: Tensor, num_states: int) -> Tensor:
    num_rows, width = ids.shape
    num_prefix, d = prefix.shape
    shared = prefix.to(gpt2.wte.weight.dtype) + gpt2.wpe.weight[:num_prefix]
    with torch.no_grad():
        text = gpt2.wte(ids) + gpt2.wpe.weight[num_prefix : num_prefix + width]
    tail = _tail_positions(num_prefix, lengths, num_states)
    later = torch.ones(width, num_prefix + width, dtype=torch.bool, device=ids.device).tril(num_prefix)
    for layer, block in enumerate(gpt2.h):
        packed = torch.cat([shared, text.reshape(num_rows * width, d)])
        q, k, v = (
            part.unflatten(-1, (gpt2.config.n_head, -1)) for part in block.attn.c_attn(block.ln_1(packed)).chunk(3, -1)
        )
        keys, values = (_rows_of(x, num_prefix, num_rows) for x in (k, v))
        if layer < len(gpt2.h) - 1:
            read = F.scaled_dot_product_attention(
                _rows_of(q, num_prefix, num_rows)[:, :, num_prefix:], keys, values, attn_mask=later
            )
            shared_read = F.scaled_dot_product_attention(
                *(x[:num_prefix].transpose(0, 1)[None] for x in (q, k, v)), is_causal=True
            )
            attended = torch.cat([_merged(shared_read)[0], _merged(read).reshape(num_rows * width, d)])
            hidden = packed + block.attn.c_proj(attended)
            hidden = hidden + _mlp(block, hidden)
            shared, text = hidden[:num_prefix], hidden[num_prefix:].unflatten(0, (num_rows, width))
        else:
            row = torch.arange(num_rows, device=ids.device)[:, None]
            slot = torch.where(tail < num_prefix, tail, tail + row * width)
            visible = torch.arange(num_prefix + width, device=ids.device) <= tail[:, :, None]
            read = F.scaled_dot_product_attention(q[slot].transpose(1, 2), keys, values, attn_mask=visible[:, None])
            hidden = packed[slot] + block.attn.c_proj(_merged(read))
            return gpt2.ln_f(hidden + _mlp(block, hidden)).float()
    raise AssertionError("GPT-2 has no block")


def _rows_of(packed: Tensor, num_prefix: int, num_rows: int) -> Float[Tensor, "row head position head_width"]:
    shared = packed[:num_prefix].expand(num_rows, -1, -1, -1)
    return torch.cat([shared, packed[num_prefix:].unflatten(0, (num_rows, -1))], dim=1).transpose(1, 2)


def _merged(heads: Float[Tensor, "row head position head_width"]) -> Float[Tensor, "row position d"]:
    return heads.transpose(1, 2).flatten(2)


def _mlp(block: torch.nn.Module, hidden: Tensor) -> Tensor:
    inner = F.gelu(block.mlp.c_fc(block.ln_2(hidden)), approximate="tanh")
    return block.mlp.c_proj(inner)
