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
from transformers import DynamicCache, PreTrainedModel
from transformers.activations import NewGELUActivation

from layers.tokenizer import END_OF_TEXT

# GPT-2 settings in the fingerprint. Their order is part of the hash: do not change it.
HASHED = ("n_embd", "n_head", "n_layer", "n_positions", "activation_function", "layer_norm_epsilon")
# Added later: hashed only if not the default, so that old fingerprints stay valid.
HASHED_UNLESS_DEFAULT = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}


@dataclass(frozen=True)
class Backbone:
    """A frozen language model with its tokenizer.

    `fingerprint` identifies it in checkpoints: name, number of blocks, SHA-256 of architecture and weights, SHA-256 of
    the tokenizer, and whether its weights are random. `is_causal`: the model uses causal attention.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]
    is_causal: bool = True

    @property
    def name(self) -> str:
        """Hugging Face hub id, directory, or `random`."""
        return self.fingerprint["name"]

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return self.model.config.hidden_size

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
        return self.model.config.max_position_embeddings

    @property
    def pad_id(self) -> int:
        """Padding token: GPT-2's end-of-text token."""
        pad_id = self.tokenizer.token_to_id(END_OF_TEXT)
        assert pad_id is not None
        return pad_id

    def word_table(self) -> Float[Tensor, "word width"]:
        """Token embedding matrix."""
        weight = self.model.get_input_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    def embed(self, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position width"]:
        """Token embeddings, without position embeddings."""
        return self.model.get_input_embeddings()(ids)

    def states(
        self,
        embeddings: Float[Tensor, "row position width"],
        ends: Int[Tensor, "row"],
        *,
        prefix: DynamicCache | None = None,
    ) -> Float[Tensor, "row position width"]:
        """Hidden states after the final layer norm; `ends` is the length of each row without its padding.

        `prefix` is the key/value cache of a prefix shared by all rows (`read_prefix`). A causal model needs no
        attention mask: padding comes after every position that is read.
        """
        num_rows, num_positions = embeddings.shape[:2]
        places = torch.arange(num_positions, device=embeddings.device)
        inputs: dict[str, Any] = {"inputs_embeds": embeddings, "use_cache": prefix is not None}
        if not self.is_causal:
            inputs["attention_mask"] = (places < ends[:, None]).long()
        elif prefix is not None:
            inputs[_cache_argument(type(self.model))] = _repeated(prefix, num_rows, self.model)
            places = places + prefix.get_seq_length()
        return self.model(**inputs, position_ids=places[None]).last_hidden_state

    def read_prefix(
        self, prefix: Float[Tensor, "position width"]
    ) -> tuple[Float[Tensor, "position width"], DynamicCache]:
        """Hidden states and key/value cache of a prefix, both with gradient (causal models only)."""
        cache = DynamicCache(config=self.model.config)
        places = torch.arange(len(prefix), device=prefix.device)
        inputs: dict[str, Any] = {"inputs_embeds": prefix[None], "position_ids": places[None], "use_cache": True}
        states = self.model(**inputs, **{_cache_argument(type(self.model)): cache}).last_hidden_state
        return states[0], cache


def wrap_backbone(
    model: PreTrainedModel, tokenizer: Tokenizer, *, name: str, is_random: bool, dtype: torch.dtype = torch.float32
) -> Backbone:
    """Freeze `model` in `dtype` and pair it with `tokenizer`; ValueError if they do not match."""
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise ValueError(
            f"--llm_tokenizer has {tokenizer.get_vocab_size()} tokens but {name} knows only {model.config.vocab_size}: "
            "choose the LLM's own tokenizer, or --llm_model random, whose vocabulary follows the tokenizer"
        )
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise ValueError(f"the tokenizer of {name} has no {END_OF_TEXT} token, so it is not GPT-2's: choose another")
    fingerprint = {
        "name": name,
        "layers": model.config.num_hidden_layers,
        "sha256": _sha256_of_model(model),
        "tokenizer_sha256": hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
        "random": is_random,
    }
    _fuse_gelu(model)
    frozen: Any = model.eval().requires_grad_(False)
    return Backbone(frozen.to(dtype), tokenizer, fingerprint)


def _sha256_of_model(model: PreTrainedModel) -> str:
    """SHA-256 of settings and float32 weights, independent of file format and library version."""
    settings = {name: getattr(model.config, name) for name in HASHED}
    for name, default in HASHED_UNLESS_DEFAULT.items():
        if getattr(model.config, name) != default:
            settings[name] = getattr(model.config, name)
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


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
