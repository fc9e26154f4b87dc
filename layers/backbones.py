"""Frozen language model with its tokenizer: the adapter over transformers."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.activations import NewGELUActivation

from layers.llm.families import Family, family_of, first_position, position_embeddings, state_width
from layers.llm.tokenizer import padding_id

# GPT-2 settings in the fingerprint. Their order is part of the hash: do not change it.
HASHED = ("n_embd", "n_head", "n_layer", "n_positions", "activation_function", "layer_norm_epsilon")
# Added later: hashed only if not the default, so that old fingerprints stay valid.
HASHED_UNLESS_DEFAULT = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}
# Settings of the other families that change what a model computes with the same weights.
HASHED_OTHERWISE = (
    *("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("hidden_act", "activation_function", "hidden_activation", "rms_norm_eps", "layer_norm_eps", "rope_parameters"),
    *("max_position_embeddings", "sliding_window", "use_sliding_window", "layer_types", "use_parallel_residual"),
    *("query_pre_attn_scalar", "attn_logit_softcapping", "do_layer_norm_before", "word_embed_proj_dim", "pad_token_id"),
)


@dataclass(frozen=True)
class Backbone:
    """A frozen language model with its tokenizer.

    `fingerprint` identifies it in checkpoints: name, number of blocks, SHA-256 of architecture and weights, SHA-256 of
    the tokenizer, and whether its weights are random; `description` says what else a reader must know of the weights.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]

    @property
    def name(self) -> str:
        """Hugging Face hub id, directory, `package:NAME` or `random`."""
        return self.fingerprint["name"]

    @property
    def family(self) -> Family:
        """What the model's family needs beyond transformers' common interface."""
        return family_of(self.model.config)

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only those before it."""
        return self.family.is_causal

    @property
    def width(self) -> int:
        """Width of the token embeddings and of the final hidden states."""
        return state_width(self.model.config)

    @property
    def num_heads(self) -> int:
        """Number of attention heads per block."""
        return self.model.config.num_attention_heads

    @property
    def num_blocks(self) -> int:
        """Number of blocks in use."""
        return self.model.config.num_hidden_layers

    @property
    def num_positions(self) -> int:
        """Maximum sequence length."""
        return self.model.config.max_position_embeddings - first_position(self.model.config)

    @property
    def pad_id(self) -> int:
        """Token id that fills the space before or behind a text."""
        return padding_id(self.tokenizer, self.model.config)

    @torch.no_grad()
    def word_table(self) -> Float[Tensor, "word width"]:
        """Token embedding of every word, as the model reads it."""
        embedding = self.model.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        if type(embedding) is nn.Embedding:
            return embedding.weight
        # Gemma scales its embeddings.
        return embedding(torch.arange(embedding.num_embeddings, device=embedding.weight.device))

    def position_table(self) -> Float[Tensor, "position width"] | None:
        """Learnt position embeddings, from the first position on; None if positions are rotary."""
        table = next(position_embeddings(self.model), None)
        # OPT keeps two places in front of its first position, RoBERTa those up to its padding id.
        return None if table is None else table.weight[len(table.weight) - self.num_positions :]

    def embed(self, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position width"]:
        """Token embeddings, without position embeddings."""
        return self.model.get_input_embeddings()(ids)

    def states(
        self,
        embeddings: Float[Tensor, "row position width"],
        ends: Int[Tensor, "row"] | None = None,
        *,
        prefix: DynamicCache | None = None,
    ) -> Float[Tensor, "row position width"]:
        """Hidden states after the last block and the model's final norm.

        `ends`: length of each row without its padding (None: no padding). `prefix`: key/value cache of a prefix shared
        by all rows (`read_prefix`; causal models only).
        """
        inputs: dict[str, Any] = {"use_cache": prefix is not None}
        start = 0
        if not self.is_causal and ends is not None:
            # A causal model needs no mask: padding comes after every position that is read.
            places = torch.arange(embeddings.shape[1], device=embeddings.device)
            seen = (places < ends[:, None]).long()
            if embeddings.device.type != "cpu":
                # transformers would make the host wait to see whether there is any padding at all.
                seen = seen.bool()[:, None, None].expand(-1, 1, len(places), -1)
            inputs["attention_mask"] = seen
        elif prefix is not None:
            inputs[_cache_argument(type(self.model))] = _repeated(prefix, len(embeddings), self.model)
            start = prefix.get_seq_length()
        return _run(self.model, embeddings, start=start, **inputs).last_hidden_state

    def read_prefix(
        self, prefix: Float[Tensor, "position width"]
    ) -> tuple[Float[Tensor, "position width"], DynamicCache]:
        """Hidden states and key/value cache of a prefix, both with gradient (causal models only)."""
        assert self.is_causal, "an encoder's prefix sees the text behind it"
        cache = DynamicCache(config=self.model.config)
        inputs = {"use_cache": True, _cache_argument(type(self.model)): cache}
        return _run(self.model, prefix[None], **inputs).last_hidden_state[0], cache


def all_states(model: PreTrainedModel, tokens: Float[Tensor, "row token width"]) -> list[Float[Tensor, "row token _"]]:
    """Hidden states of `model` before its first block and after each; the last one after the final norm.

    All are `width` wide but in the smaller OPT models, which are wider inside.
    """
    return list(_run(model, tokens, use_cache=False, output_hidden_states=True).hidden_states)


class _KeepsNothing(DynamicCache):
    """Cache that hands back what it is given.

    With a cache, transformers does not look for several texts in one row, which would make the host wait for a GPU.
    """

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **_more: Any) -> tuple[Tensor, Tensor]:
        return key_states, value_states


def _run(model: PreTrainedModel, embeddings: Tensor, *, start: int = 0, **inputs: Any) -> Any:
    """Output of `model` for embeddings at the positions from `start` on, given explicitly."""
    first = start + first_position(model.config)
    places = torch.arange(first, first + embeddings.shape[1], device=embeddings.device)
    cache = _cache_argument(type(model))
    reads_all = cache not in inputs and "attention_mask" not in inputs and family_of(model.config).is_causal
    if reads_all and embeddings.device.type != "cpu":
        inputs[cache] = _KeepsNothing(config=model.config)
    return model(inputs_embeds=embeddings, position_ids=places[None], **inputs)


def wrap_backbone(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    *,
    name: str,
    is_random: bool,
    dtype: torch.dtype = torch.float32,
    description: str = "",
) -> Backbone:
    """Freeze `model` in `dtype` and pair it with `tokenizer`, which has no tokens where none is needed."""
    fingerprint = {
        "name": name,
        "layers": model.config.num_hidden_layers,
        "sha256": _sha256_of_model(model),
        "tokenizer_sha256": hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
        "random": is_random,
    }
    if model.config.model_type != "gpt2":
        fingerprint["description"] = description
    if not tokenizer.get_vocab_size():
        del fingerprint["tokenizer_sha256"]
    _fuse_gelu(model)
    frozen: Any = model.eval().requires_grad_(False)
    return Backbone(frozen.to(dtype), tokenizer, fingerprint)


def _sha256_of_model(model: PreTrainedModel) -> str:
    """SHA-256 of settings and float32 weights, independent of file format and library version."""
    digest = hashlib.sha256(json.dumps(_hashed_settings(model.config)).encode())
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _hashed_settings(config: PreTrainedConfig) -> dict[str, Any]:
    if config.model_type != "gpt2":
        found = {name: getattr(config, name, None) for name in HASHED_OTHERWISE}
        return {name: value for name, value in found.items() if value is not None}
    settings = {name: getattr(config, name) for name in HASHED}
    for name, default in HASHED_UNLESS_DEFAULT.items():
        if getattr(config, name) != default:
            settings[name] = getattr(config, name)
    return settings


def _fuse_gelu(model: nn.Module) -> None:
    """Replace transformers' unfused tanh GELU by torch's fused one: the same function, much faster."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


@functools.cache
def _cache_argument(kind: type[PreTrainedModel]) -> str:
    """Name of `forward`'s cache argument: `past_key_values` before about transformers 5.20, then `cache`."""
    return "cache" if "cache" in inspect.signature(kind.forward).parameters else "past_key_values"


def _repeated(prefix: DynamicCache, num_rows: int, model: PreTrainedModel) -> DynamicCache:
    """Copy of the `prefix` cache expanded to all rows (a forward pass appends to its cache, hence a new one)."""
    rows = DynamicCache(config=model.config)
    for number, layer in enumerate(prefix.layers):
        keys, values = (getattr(layer, name) for name in ("keys", "values"))
        rows.update(keys.expand(num_rows, -1, -1, -1), values.expand(num_rows, -1, -1, -1), number)
    return rows
