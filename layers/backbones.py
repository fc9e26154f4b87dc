"""What the library needs of a language model, and the one adapter over transformers."""

from __future__ import annotations

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

# Settings that decide what a GPT-2 computes, in the order in which its fingerprint has always held them.
HASHED = ("n_embd", "n_head", "n_layer", "n_positions", "activation_function", "layer_norm_epsilon")
# These joined later: they are hashed only where they are not the default, so that old fingerprints stay the same.
HASHED_UNLESS_DEFAULT = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}


@dataclass(frozen=True)
class Backbone:
    """A frozen language model with the tokenizer whose ids its word table holds.

    `fingerprint` identifies it in checkpoints: name, number of blocks, SHA-256 of architecture and weights, that of the
    tokenizer, and whether its weights are random. `is_causal`: no position sees a later one.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]
    is_causal: bool = True

    @property
    def name(self) -> str:
        """Hub id, directory, or `random`."""
        return self.fingerprint["name"]

    @property
    def width(self) -> int:
        """Dimensions of a state."""
        return self.model.config.hidden_size

    @property
    def num_heads(self) -> int:
        """Attention heads of a block."""
        return self.model.config.num_attention_heads

    @property
    def num_blocks(self) -> int:
        """Blocks that are used."""
        return self.model.config.num_hidden_layers

    @property
    def num_positions(self) -> int:
        """The longest sequence that the model can read."""
        return self.model.config.max_position_embeddings

    @property
    def pad_id(self) -> int:
        """The end-of-text token, with which GPT-2 is padded."""
        pad_id = self.tokenizer.token_to_id(END_OF_TEXT)
        assert pad_id is not None
        return pad_id

    def word_table(self) -> Float[Tensor, "word width"]:
        """The embedding of every word."""
        weight = self.model.get_input_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    def embed(self, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position width"]:
        """Word embeddings, as the model's first block gets them but for positions."""
        return self.model.get_input_embeddings()(ids)

    def states(
        self,
        embeddings: Float[Tensor, "row position width"],
        ends: Int[Tensor, "row"],
        *,
        prefix: DynamicCache | None = None,
    ) -> Float[Tensor, "row position width"]:
        """States of the last block after the model's final norm; rows are padded behind their `ends`, counted in rows.

        `prefix` holds the keys and values of positions before the rows, shared by all of them (`read_prefix`); a causal
        model needs no mask, since padding stands behind every position that is read.
        """
        num_rows, num_positions = embeddings.shape[:2]
        places = torch.arange(num_positions, device=embeddings.device)
        inputs: dict[str, Any] = {"inputs_embeds": embeddings, "use_cache": prefix is not None}
        if not self.is_causal:
            inputs["attention_mask"] = (places < ends[:, None]).long()
        elif prefix is not None:
            inputs[_cache_argument(self.model)] = _repeated(prefix, num_rows, self.model)
            places = places + prefix.get_seq_length()
        return self.model(**inputs, position_ids=places[None]).last_hidden_state

    def read_prefix(
        self, prefix: Float[Tensor, "position width"]
    ) -> tuple[Float[Tensor, "position width"], DynamicCache]:
        """States of a prefix read alone, and its keys and values, both with the prefix's gradient (causal models)."""
        cache = DynamicCache(config=self.model.config)
        places = torch.arange(len(prefix), device=prefix.device)
        inputs: dict[str, Any] = {"inputs_embeds": prefix[None], "position_ids": places[None], "use_cache": True}
        states = self.model(**inputs, **{_cache_argument(self.model): cache}).last_hidden_state
        return states[0], cache


def wrap_backbone(
    model: PreTrainedModel, tokenizer: Tokenizer, *, name: str, is_random: bool, dtype: torch.dtype = torch.float32
) -> Backbone:
    """`model` and `tokenizer` as a frozen backbone in `dtype`; ValueError when they do not fit each other."""
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
    """Hash of settings and float32 weights, the same wherever and in whichever library version they were stored."""
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
    """Puts torch's fused tanh GELU in place of transformers' GELU in eight steps: the same function, much faster."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _cache_argument(model: PreTrainedModel) -> str:
    """What `forward` calls its cache: `past_key_values` until transformers 5.20 or so, `cache` since."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _repeated(prefix: DynamicCache, num_rows: int, model: PreTrainedModel) -> DynamicCache:
    """A new cache whose keys and values are those of `prefix` for every row (a cache grows at each call)."""
    rows = DynamicCache(config=model.config)
    for number, layer in enumerate(prefix.layers):
        keys, values = (getattr(layer, name) for name in ("keys", "values"))
        rows.update(keys.expand(num_rows, -1, -1, -1), values.expand(num_rows, -1, -1, -1), number)
    return rows
