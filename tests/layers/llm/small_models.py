"""Tiny language models of every supported family, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel

from layers.llm.families import FAMILIES, family_of, model_class
from layers.llm.tokenizer import byte_level_tokenizer
from layers.prompt import WORDS

TOKENIZER = byte_level_tokenizer(WORDS)
NUM_WORDS = TOKENIZER.get_vocab_size()
NUM_POSITIONS = 96
SIZES: dict[str, Any] = {"vocab_size": NUM_WORDS, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1}
KINDS = [*FAMILIES, "opt_350m", "mistral_sliding"]
CAUSAL = [kind for kind in KINDS if kind not in ("bert", "roberta", "xlm-roberta")]
# What a family needs to be tiny, where its names or defaults differ.
ITS_OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": NUM_POSITIONS},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "opt_350m": {"ffn_dim": 32, "word_embed_proj_dim": 8, "do_layer_norm_before": False},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "qwen3": {"head_dim": 8},
    "mistral_sliding": {"sliding_window": 80},
    "roberta": {"max_position_embeddings": NUM_POSITIONS + 2},
    "xlm-roberta": {"max_position_embeddings": NUM_POSITIONS + 2},
}
COMMON = {"gpt2": {}, "opt": {"max_position_embeddings": NUM_POSITIONS}}
GROUPED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")


def small_model(kind: str, num_blocks: int = 3) -> PreTrainedModel:
    """A model of `num_blocks` blocks; norms, biases and positions are random too, so that none can be left out."""
    model_type = {"opt_350m": "opt", "mistral_sliding": "mistral"}.get(kind, kind)
    own = {
        **COMMON.get(model_type, {"max_position_embeddings": NUM_POSITIONS, "intermediate_size": 32}),
        **ITS_OWN.get(kind, {}),
    }
    if model_type in GROUPED:
        own["num_key_value_heads"] = 1
    config = CONFIG_MAPPING[model_type](**{**SIZES, **TOKENS, "num_hidden_layers": num_blocks, **own})
    family = family_of(config)
    config._attn_implementation = family.attention
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(config)(config, **family.options)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def save_model(kind: str, folder: Path) -> Path:
    """Write a small model with its tokenizer into `folder`, as transformers does."""
    small_model(kind).save_pretrained(folder)
    TOKENIZER.save(str(folder / "tokenizer.json"))
    return folder
