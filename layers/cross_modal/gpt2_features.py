"""Hidden states of GPT-2 for given token embeddings, and a copy of GPT-2 that shares the large matrices."""

from __future__ import annotations

import copy
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import GPT2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.pytorch_utils import Conv1D

MANY_TOKENS = 128


def frozen_twin(model: GPT2Model) -> GPT2Model:
    """A frozen copy of `model` that shares its attention and feed-forward weights.

    Layer norms and position embeddings are copied; the token embedding matrix is left out.
    """
    shared = {id(p): p for module in model.modules() if isinstance(module, Conv1D) for p in module.parameters()}
    return copy.deepcopy(model, {**shared, id(model.wte): nn.Identity()}).requires_grad_(False)


def gpt2_features(model: GPT2Model, tokens: Float[Tensor, "row token width"]) -> list[Float[Tensor, "row token width"]]:
    """All hidden states: tokens plus positions, the outputs of all blocks but the last, the final layer norm's output.

    Equal to transformers' `output_hidden_states=True` (causal attention), without building masks and caches.
    """
    hidden = model.drop(tokens + model.wpe.weight[: tokens.shape[1]])
    features = []
    for block in _blocks(model):
        features.append(hidden)
        hidden = _block_output(block, hidden)
    return [*features, model.ln_f(hidden)]


def _blocks(model: GPT2Model) -> list[GPT2Block]:
    return cast(list[GPT2Block], list(model.h))


def _block_output(block: GPT2Block, hidden: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
    attention = block.attn
    projected = attention.c_attn(block.ln_1(hidden))
    heads = projected.unflatten(-1, (3, attention.num_heads, -1)).transpose(1, 3)
    query, key, value = heads.unbind(2)
    dropout = attention.attn_dropout.p if attention.training else 0.0
    attend = partial(F.scaled_dot_product_attention, is_causal=True, dropout_p=dropout, scale=attention.scaling)
    if dropout and query.device.type == "cpu" and query.shape[2] >= MANY_TOKENS and torch.is_grad_enabled():
        # The CPU kernel with dropout keeps the attention maps, [token, token] per row and head: recompute them instead.
        mixed = checkpoint(attend, query, key, value, use_reentrant=False)
    else:
        mixed = attend(query, key, value)
    assert isinstance(mixed, Tensor)
    hidden = hidden + attention.resid_dropout(attention.c_proj(mixed.transpose(1, 2).flatten(2)))
    return hidden + block.mlp(block.ln_2(hidden))
