"""Load a frozen GPT-2 and its tokenizer: from the hub, from a directory, or with seeded random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2Model
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone, wrap_backbone
from layers.tokenizer import byte_level_tokenizer, find_tokenizer

RANDOM = "random"
T = TypeVar("T")


class _FirstBlocks(GPT2Model):
    """GPT-2 that loads its first `n_layer` blocks and ignores the rest of the checkpoint."""

    _keys_to_ignore_on_load_unexpected = [r"(^|\.)h\.\d+\.", r"attn\.(masked_)?bias", r"^lm_head\."]


@dataclass(frozen=True)
class LLMConfig:
    """Language model of the text branch, and how many of its blocks are used."""

    llm_model: str = HfArg(
        default="openai-community/gpt2",
        help="GPT-2 as a Hugging Face hub id, as a local directory with config.json and model.safetensors, or `random` "
        "for seeded random weights (the control experiment; needs no files)",
    )
    llm_layers: int = HfArg(default=6, help="number of GPT-2 blocks to use, counted from the first")
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
) -> Backbone:
    """Load the first `llm_layers` blocks of the LLM, frozen, in eval mode and in `dtype`.

    `words` become single tokens of the built-in tokenizer (`random` without `--llm_tokenizer`). `random_weights` keeps
    the LLM's architecture and tokenizer but draws its weights at random. The global random state is not touched.
    Raises ValueError or FileNotFoundError with a one-line message when the LLM or its tokenizer cannot be loaded.
    """
    if config.llm_model == RANDOM:
        directory = config.llm_tokenizer
        tokenizer = find_tokenizer(directory, flag="--llm_tokenizer") if directory else byte_level_tokenizer(words)
        model = _random_gpt2(_random_architecture(config, tokenizer.get_vocab_size()), config.llm_seed)
    else:
        architecture = _named_architecture(config)
        tokenizer = _named_tokenizer(config)
        if random_weights:
            model = _random_gpt2(architecture, config.llm_seed)
        else:
            model = _pretrained_gpt2(config, architecture)
    is_random = random_weights or config.llm_model == RANDOM
    return wrap_backbone(model, tokenizer, name=config.llm_model, is_random=is_random, dtype=dtype)


def llm_width(config: LLMConfig) -> int:
    """Width of the LLM's hidden states, without loading its weights."""
    return config.llm_width if config.llm_model == RANDOM else _named_architecture(config).n_embd


def _random_architecture(config: LLMConfig, vocab_size: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocab_size,
        n_embd=config.llm_width,
        n_head=config.llm_heads,
        n_layer=config.llm_layers,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )


def _random_gpt2(architecture: GPT2Config, seed: int) -> GPT2Model:
    architecture._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return GPT2Model(architecture)


def _named_architecture(config: LLMConfig) -> GPT2Config:
    """Architecture of the named LLM, truncated to `llm_layers` blocks."""
    directory = Path(config.llm_model)
    if directory.is_dir() and not (directory / "config.json").is_file():
        raise FileNotFoundError(f"--llm_model {directory} has no config.json: name a directory that holds a GPT-2")
    found = _from_hub(config, lambda: GPT2Config.get_config_dict(config.llm_model)[0])
    if found.get("model_type") != "gpt2":
        raise ValueError(f"--llm_model must be a GPT-2, but {config.llm_model} is of type {found.get('model_type')!r}")
    architecture = GPT2Config.from_dict(found)
    if config.llm_layers > architecture.n_layer:
        raise ValueError(
            f"--llm_layers must be at most {architecture.n_layer}, the number of blocks of {config.llm_model}, "
            f"got {config.llm_layers}"
        )
    architecture.n_layer = config.llm_layers
    return architecture


def _pretrained_gpt2(config: LLMConfig, architecture: GPT2Config) -> GPT2Model:
    def load() -> Any:
        return _FirstBlocks.from_pretrained(
            config.llm_model,
            config=architecture,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )

    model, info = _from_hub(config, load)
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])[0]
        raise ValueError(
            f"--llm_model {config.llm_model} lacks weights of a GPT-2 ({missing}): use a complete checkpoint"
        )
    return model


def _named_tokenizer(config: LLMConfig) -> Tokenizer:
    if config.llm_tokenizer:
        return find_tokenizer(config.llm_tokenizer, flag="--llm_tokenizer")
    if Path(config.llm_model).is_dir():
        return find_tokenizer(config.llm_model, flag="--llm_model")
    return _from_hub(config, lambda: Tokenizer.from_file(hf_hub_download(config.llm_model, "tokenizer.json")))


def _from_hub(config: LLMConfig, load: Callable[[], T]) -> T:
    """Return `load()`; turn its errors into a one-line FileNotFoundError that suggests a fix."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if Path(config.llm_model).is_dir():
            reason = str(error).splitlines()[0]
            raise FileNotFoundError(
                f"--llm_model {config.llm_model} must hold config.json and model.safetensors of a GPT-2: {reason}"
            ) from error
        raise FileNotFoundError(
            f"--llm_model {config.llm_model} cannot be loaded ({type(error).__name__}): if the hub cannot be reached, "
            "set HF_ENDPOINT to a mirror, give a local directory, or use --llm_model random as the control experiment"
        ) from error
