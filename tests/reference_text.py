"""The text branch written plainly: the whole of GPT-2 on every row, its own prefix, full padding, all states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2Model


def small_gpt2(num_blocks: int = 3, *, seed: int = 0, width: int = 32, **settings: Any) -> GPT2Model:
    """A frozen GPT-2 of 50 words and 40 positions whose every parameter matters."""
    config = GPT2Config(
        n_embd=width, n_layer=num_blocks, n_head=4, vocab_size=50, n_positions=40, bos_token_id=0, eos_token_id=0,
        **settings,
    )  # fmt: skip
    gpt2 = GPT2Model(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in gpt2.parameters():
        parameter.normal_(0, 0.25, generator=generator)
    return gpt2


def plain_states(
    gpt2: GPT2Model,
    prefix: Tensor,
    ids: Tensor,
    lengths: Tensor,
    num_states: int,
    *,
    published: bool = False,
    pad_id: int = 0,
) -> Tensor:
    """The last states of [prefix; text] of every row: of its own tokens, or of the padded row if `published`."""
    width = int(lengths.max())
    padded = torch.arange(width) >= lengths[:, None]
    texts = gpt2.wte(ids[:, :width].masked_fill(padded, pad_id))
    inputs = torch.cat([prefix.expand(len(ids), -1, -1), texts], dim=1)
    num_prefix = len(prefix)
    mask = torch.cat([torch.ones(len(ids), num_prefix), (~padded).float()], dim=1)
    states = gpt2(
        inputs_embeds=inputs,
        attention_mask=None if published else mask,
        position_ids=torch.arange(num_prefix + width)[None],
        use_cache=False,
    ).last_hidden_state
    ends = torch.full_like(lengths, width) if published else lengths
    rows = zip(states, ends.tolist(), strict=True)
    return torch.stack([row[num_prefix + end - num_states : num_prefix + end] for row, end in rows])
