"""Load a frozen language model and its tokenizer: pretrained from any source, or with seeded random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, GPT2Config, PreTrainedConfig, PreTrainedModel
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone, wrap_backbone
from layers.llm.families import FAMILIES, NAMES, family_of, model_class, state_width
from layers.llm.quiet import quiet_transformers
from layers.llm.sources import Source, ask_hub, find_source
from layers.llm.tokenizer import byte_level_tokenizer, find_tokenizer, no_tokenizer, read_tokenizer

RANDOM = "random"
# A tokenizer with fewer tokens than this share of the LLM's words belongs to another LLM.
LEAST_SHARE = 0.9
T = TypeVar("T")


@dataclass(frozen=True)
class LLMConfig:
    """Language model of the text branch, and how many of its blocks are used."""

    llm_model: str = HfArg(
        default="openai-community/gpt2",
        help="language model: a Hugging Face hub id, a directory with config.json and safetensors, a .gguf file, "
        "package:NAME for one that an installed Python package ships (docs/language_models.md), or `random` for a "
        "GPT-2 with seeded random weights (the control experiment; needs no files)",
    )
    llm_layers: int = HfArg(default=6, help="number of blocks of the LLM to use, counted from the first")
    llm_tokenizer: str | None = HfArg(
        default=None,
        help="directory of the tokenizer: tokenizer.json, or vocab.json and merges.txt; default: that of --llm_model, "
        "or a built-in byte-level one for `random`",
    )
    llm_width: int = HfArg(default=768, help="width of the hidden states, for --llm_model random only")
    llm_heads: int = HfArg(default=12, help="number of attention heads, for --llm_model random only")
    llm_seed: int = HfArg(default=2021, help="seed of random LLM weights; independent of --seed")

    def __post_init__(self) -> None:
        """Validate the config."""
        for name in ("llm_layers", "llm_width", "llm_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.llm_width % self.llm_heads:
            raise ValueError(
                f"--llm_width must be a multiple of --llm_heads, got {self.llm_width} and {self.llm_heads}"
            )
        if self.llm_model != RANDOM:
            defaults = {f.name: f.default for f in fields(LLMConfig)}
            changed = [f"--{n}" for n in ("llm_width", "llm_heads") if getattr(self, n) != defaults[n]]
            if changed:
                raise ValueError(
                    f"{' and '.join(changed)} can be chosen for --llm_model random only; {self.llm_model} has its own"
                )


def load_backbone(
    config: LLMConfig,
    words: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    *,
    random_weights: bool = False,
    reads_text: bool = True,
) -> Backbone:
    """Load the first `llm_layers` blocks of the LLM, frozen, in eval mode and in `dtype`.

    `words` become single tokens of the built-in tokenizer (`random` without `--llm_tokenizer`). `random_weights` keeps
    the LLM's architecture and tokenizer but draws its weights at random. A model that reads no text (`reads_text`
    False) needs no tokenizer. The global random state is not touched. Raises ValueError or FileNotFoundError with a
    one-line message when the LLM or its tokenizer cannot be loaded.
    """
    if config.llm_model == RANDOM:
        directory = config.llm_tokenizer
        tokenizer = find_tokenizer(directory, flag="--llm_tokenizer") if directory else byte_level_tokenizer(words)
        model = _random_model(_random_architecture(config, tokenizer.get_vocab_size()), config.llm_seed)
        return wrap_backbone(model, tokenizer, name=RANDOM, is_random=True, dtype=dtype)
    source = find_source(config.llm_model)
    architecture = _architecture(config, source)
    tokenizer = _tokenizer(config, source, reads_text=reads_text)
    _check_tokenizer(tokenizer, architecture, config)
    if random_weights:
        model = _random_model(architecture, config.llm_seed)
    else:
        model = _pretrained_model(config, source, architecture)
    return wrap_backbone(
        model,
        tokenizer,
        name=config.llm_model,
        is_random=random_weights,
        dtype=dtype,
        description=source.description,
    )


def llm_width(config: LLMConfig) -> int:
    """Width of the LLM's token embeddings and hidden states, without loading its weights."""
    if config.llm_model == RANDOM:
        return config.llm_width
    return state_width(_architecture(config, find_source(config.llm_model)))


def _random_architecture(config: LLMConfig, vocab_size: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocab_size,
        n_embd=config.llm_width,
        n_head=config.llm_heads,
        n_layer=config.llm_layers,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )


def _random_model(architecture: PreTrainedConfig, seed: int) -> PreTrainedModel:
    family = family_of(architecture)
    architecture._attn_implementation = family.attention
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return model_class(architecture)(architecture, **family.options)


def _architecture(config: LLMConfig, source: Source) -> PreTrainedConfig:
    """Architecture of the named LLM, cut to its first `llm_layers` blocks."""
    if source.is_local and not (Path(source.location) / "config.json").is_file():
        raise FileNotFoundError(
            f"--llm_model {config.llm_model} has no config.json: name the directory of a language model"
        )
    if not source.is_local:
        _in_one_line(config, source, lambda: ask_hub(source.location))
    found = _in_one_line(config, source, lambda: PreTrainedConfig.get_config_dict(source.location)[0])
    kind = found.get("model_type")
    if kind not in FAMILIES:
        own_code = ", and its own code (auto_map) is never run" if "auto_map" in found else ""
        raise ValueError(
            f"--llm_model {config.llm_model} is of type {kind!r}, which is not supported{own_code}; supported are "
            f"{NAMES}"
        )
    architecture = _in_one_line(config, source, lambda: CONFIG_MAPPING[kind].from_dict(found))
    if config.llm_layers > architecture.num_hidden_layers:
        raise ValueError(
            f"--llm_layers must be at most {architecture.num_hidden_layers}, the number of blocks of "
            f"{config.llm_model}, got {config.llm_layers}"
        )
    # The model then applies its final norm to the last of these blocks.
    if getattr(architecture, "layer_types", None):
        architecture.layer_types = architecture.layer_types[: config.llm_layers]
    architecture.num_hidden_layers = config.llm_layers
    return architecture


def _pretrained_model(config: LLMConfig, source: Source, architecture: PreTrainedConfig) -> PreTrainedModel:
    family = family_of(architecture)

    def load() -> Any:
        return model_class(architecture).from_pretrained(
            source.location,
            config=architecture,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=family.attention,
            output_loading_info=True,
            **family.options,
        )

    with quiet_transformers():
        model, info = _in_one_line(config, source, load)
    wrong = sorted(info["missing_keys"]) or sorted(str(key) for key in info.get("mismatched_keys", ()))
    if wrong:
        raise ValueError(
            f"--llm_model {config.llm_model} lacks weights of a {architecture.model_type} model ({wrong[0]}): use a "
            "complete checkpoint"
        )
    return model


def _tokenizer(config: LLMConfig, source: Source, *, reads_text: bool) -> Tokenizer:
    """The tokenizer of `--llm_tokenizer`, else the LLM's own."""
    if config.llm_tokenizer:
        return find_tokenizer(config.llm_tokenizer, flag="--llm_tokenizer")
    if not source.is_local:
        return _in_one_line(config, source, lambda: read_tokenizer(hf_hub_download(source.location, "tokenizer.json")))
    try:
        return find_tokenizer(source.location, flag="--llm_model")
    except FileNotFoundError:
        if reads_text:
            raise
        return no_tokenizer()


def _check_tokenizer(tokenizer: Tokenizer, architecture: PreTrainedConfig, config: LLMConfig) -> None:
    """Refuse the tokenizer of another LLM (ValueError)."""
    tokens, words = tokenizer.get_vocab_size(), architecture.vocab_size
    if tokens > words or 0 < tokens < LEAST_SHARE * words:
        raise ValueError(
            f"{'--llm_tokenizer' if config.llm_tokenizer else 'the tokenizer'} has {tokens} tokens but "
            f"{config.llm_model} knows {'only ' if tokens > words else ''}{words}: choose the LLM's own tokenizer, or "
            "--llm_model random, whose vocabulary follows the tokenizer"
        )


def _in_one_line(config: LLMConfig, source: Source, load: Callable[[], T]) -> T:
    """Return `load()`; turn its errors into a one-line FileNotFoundError that suggests a fix."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError, json.JSONDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if source.is_local:
            raise FileNotFoundError(
                f"--llm_model {config.llm_model} must hold config.json and model.safetensors of a language model: "
                f"{reason}"
            ) from error
        raise FileNotFoundError(
            f"--llm_model {config.llm_model} cannot be loaded ({reason}): if the hub cannot be reached, set "
            "HF_ENDPOINT to a mirror, give a local directory, a .gguf file or package:NAME, or use --llm_model "
            "random as the control experiment"
        ) from error
