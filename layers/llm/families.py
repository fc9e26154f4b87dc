"""The supported families of language models, and what each needs beyond transformers' common interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from transformers import MODEL_MAPPING, PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Family:
    """One `model_type` of transformers.

    `lora`: the attention projections that LoRA tunes (peft's own choice). `options`: arguments of the model's
    constructor. `is_causal`: a token sees only those before it; an encoder sees both directions. `attention`: the
    implementation in transformers.
    """

    lora: tuple[str, ...] = ("q_proj", "v_proj")
    is_causal: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    attention: str = "sdpa"


ENCODER = Family(lora=("query", "value"), is_causal=False, options={"add_pooling_layer": False})
FAMILIES = {
    "gpt2": Family(lora=("c_attn",)),
    "llama": Family(),
    "mistral": Family(),
    "qwen2": Family(),
    "qwen3": Family(),
    "gemma": Family(),
    # Gemma 2 caps its attention scores, which the fused kernel cannot do.
    "gemma2": Family(attention="eager"),
    "gemma3_text": Family(),
    "phi3": Family(lora=("qkv_proj",)),
    "opt": Family(),
    "gpt_neox": Family(lora=("query_key_value",)),
    "bert": ENCODER,
    "roberta": ENCODER,
    "xlm-roberta": ENCODER,
}
NAMES = (
    "GPT-2, Llama (also SmolLM2), Mistral, Qwen2, Qwen3, Gemma, Phi-3, OPT, GPT-NeoX (also Pythia), BERT (also MiniLM) "
    "and RoBERTa"
)


def family_of(config: PreTrainedConfig) -> Family:
    """The family of a model's config."""
    return FAMILIES[config.model_type]


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of the model without a language-modelling head."""
    kind: Any = MODEL_MAPPING[type(config)]
    return kind[0] if isinstance(kind, tuple) else kind


def first_position(config: PreTrainedConfig) -> int:
    """Position id of the first token: RoBERTa counts from behind its padding id."""
    return config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0


def state_width(config: PreTrainedConfig) -> int:
    """Width of token embeddings and final hidden states; the smaller OPT models are wider inside."""
    return getattr(config, "word_embed_proj_dim", None) or config.hidden_size


def norms(model: nn.Module) -> Iterator[nn.Module]:
    """The normalisation layers of a language model."""
    return (module for module in model.modules() if type(module).__name__.endswith("Norm"))


def position_embeddings(model: nn.Module) -> Iterator[nn.Embedding]:
    """The learnt position embeddings of a language model; none if its positions are rotary."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and (last == "wpe" or "position" in last):
            yield module
