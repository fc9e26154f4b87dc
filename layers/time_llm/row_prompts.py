"""Keys and values of each row's prompt: read once without a graph, then attended to by what follows it.

For causal language models only: there a prompt does not see what stands behind it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from layers.backbones import Backbone, _cache_argument
from layers.llm.families import first_position

KeysValues = Float[Tensor, "row prompt_position keys_and_values head head_width"]


class _AllRead(Exception):
    """The last block's keys and values are known; the rest of its work has no reader."""


class _KeysAndValuesOnly(DynamicCache):
    """Cache that ends the forward pass once the last block has handed in its keys and values."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *rest: Any, **more: Any) -> Any:
        updated = super().update(key_states, value_states, layer_idx, *rest, **more)
        if layer_idx == len(self.layers) - 1:
            raise _AllRead
        return updated


@torch.no_grad()
def read_rows(
    backbone: Backbone, embeddings: Float[Tensor, "row position width"], *, common: DynamicCache | None = None
) -> KeysValues:
    """Keys and values of each block (first its keys, then its values) for rows that follow a `common` beginning.

    Those of the common beginning are left out. Padding at the end of a row is read and must be ignored later.
    """
    num_rows, num_positions = embeddings.shape[:2]
    # An exception would break a compiled graph.
    kind = DynamicCache if torch.compiler.is_compiling() else _KeysAndValuesOnly
    cache, start = kind(config=backbone.model.config), 0
    if common is not None:
        start = common.get_seq_length()
        for number, (keys, values) in enumerate(_of_blocks(common)):
            DynamicCache.update(cache, keys.expand(num_rows, -1, -1, -1), values.expand(num_rows, -1, -1, -1), number)
    places = start + torch.arange(num_positions, device=embeddings.device)
    with contextlib.suppress(_AllRead):
        _run(backbone, embeddings, cache, places[None])
    parts = [part[:, :, start:].transpose(1, 2) for block in _of_blocks(cache) for part in block]
    return torch.stack(parts, dim=2)


def states_after(
    backbone: Backbone,
    embeddings: Float[Tensor, "row position width"],
    rows: KeysValues,
    lengths: Int[Tensor, "row"],
    *,
    common: DynamicCache | None = None,
) -> Float[Tensor, "row position width"]:
    """Hidden states of `embeddings` directly behind the first `lengths` positions of each row's own prompt.

    `rows` are what `read_rows` returned after the same `common` beginning.
    """
    num_rows, num_positions = embeddings.shape[:2]
    start = 0 if common is None else common.get_seq_length()
    cache = DynamicCache(config=backbone.model.config)
    for number in range(rows.shape[2] // 2):
        keys, values = (rows[:, :, 2 * number + part].transpose(1, 2).to(embeddings.dtype) for part in range(2))
        if common is not None:
            shared_keys, shared_values = _of_blocks(common)[number]
            keys = torch.cat([shared_keys.expand(num_rows, -1, -1, -1), keys], dim=2)
            values = torch.cat([shared_values.expand(num_rows, -1, -1, -1), values], dim=2)
        cache.update(keys, values, number)
    own_places = torch.arange(rows.shape[1], device=embeddings.device)
    seen = torch.cat(
        [
            torch.ones(num_rows, start, dtype=torch.bool, device=embeddings.device),
            own_places < lengths[:, None],
            torch.ones(num_rows, num_positions, dtype=torch.bool, device=embeddings.device),
        ],
        dim=1,
    )
    places = start + lengths[:, None] + torch.arange(num_positions, device=embeddings.device)
    return _run(backbone, embeddings, cache, places, attention_mask=seen.long())


def _of_blocks(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each block, [row, head, position, head_width]."""
    return [(getattr(layer, "keys"), getattr(layer, "values")) for layer in cache.layers]  # noqa: B009  (untyped)


def _run(backbone: Backbone, embeddings: Tensor, cache: DynamicCache, places: Tensor, **inputs: Tensor) -> Tensor:
    model = backbone.model
    given = {"inputs_embeds": embeddings, "position_ids": places + first_position(model.config), **inputs}
    return model(**given, use_cache=True, **{_cache_argument(type(model)): cache}).last_hidden_state
