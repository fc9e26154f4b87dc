"""CALF's two branches: copies of a language model that share its large matrices (arXiv 2403.07300, section 3.1)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from layers.llm.families import family_of

RECOMPUTED = "sdpa_recomputed"
MANY_TOKENS = 128


def frozen_twin(model: PreTrainedModel) -> PreTrainedModel:
    """A frozen copy of `model` that shares its attention and feed-forward weights.

    Norms and position embeddings are copied; the token embedding matrix is left out.
    """
    shared: dict[int, Any] = {id(p): p for module in linear_layers(model) for p in module.parameters()}
    twin = copy.deepcopy(model, {**shared, id(model.get_input_embeddings()): nn.Identity()})
    if family_of(model.config).attention == "sdpa":
        AttentionInterface.register(RECOMPUTED, _recomputed_attention)
        AttentionMaskInterface.register(RECOMPUTED, AttentionMaskInterface()["sdpa"])
        twin.config._attn_implementation = RECOMPUTED
    frozen: Any = twin.requires_grad_(False)
    return frozen


def linear_layers(model: nn.Module) -> Iterator[nn.Linear | Conv1D]:
    """The linear layers of a language model, which hold nearly all of its weights."""
    return (module for module in model.modules() if isinstance(module, (Conv1D, nn.Linear)))


def _recomputed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' fused attention, computed again in the backward pass where it would keep much.

    The CPU kernel with dropout keeps the attention maps, [token, token] per row and head.
    """
    attend = partial(AttentionInterface()["sdpa"], module, attention_mask=attention_mask, dropout=dropout, **options)
    if not (dropout and query.device.type == "cpu" and query.shape[2] >= MANY_TOKENS and torch.is_grad_enabled()):
        return attend(query, key, value)
    mixed = checkpoint(lambda *tensors: attend(*tensors)[0], query, key, value, use_reentrant=False)
    assert isinstance(mixed, Tensor)
    return mixed, None
