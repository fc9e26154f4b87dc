"""Time-LLM: patches reprogrammed as words, behind a prompt, through a frozen language model (arXiv 2310.01728)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone
from layers.encoder import check_dropout
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.llm.loading import LLMConfig, load_backbone
from layers.patching import PatchConfig, PatchEmbedding, cut_patches, num_patches
from layers.statistics import NUM_LAGS
from layers.time_llm.prompt import PROMPT_WORDS, TaskPromptWriter
from layers.time_llm.reader import PromptedReader
from layers.time_llm.reprogramming import Reprogramming, TextPrototypes
from models.base import Forecast, Forecaster, ForecastSpec

# The published code's departures from the paper or from good sense, turned on by --compat_official.
PUBLISHED: dict[str, Any] = {
    "prompt_padding": "published",
    "published_description": True,
    "llm_dropout": True,
    "all_lags": True,
    "float32_statistics": True,
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class TimeLLMConfig(PatchConfig, LLMConfig):
    """Settings of Time-LLM; the default sizes are the published ones for ETTh1 and ETTm1."""

    d_model: int = HfArg(default=32, help="width of a patch embedding")
    d_ff: int = HfArg(
        default=128, help="width of an attention head, and number of LLM dimensions that the forecast head reads"
    )
    n_heads: int = HfArg(default=8, help="number of attention heads over the text prototypes")
    num_prototypes: int = HfArg(default=1000, help="number of text prototypes, mixtures of the LLM's words")
    dropout: float = HfArg(default=0.1, help="dropout rate of patches, attention weights and the head's output")
    description: str | None = HfArg(
        default=None, help="sentence about the data at the beginning of each prompt; default: the data set's own"
    )
    prompt_digits: int | None = HfArg(
        default=None, help="decimals of the (normalised) numbers in a prompt; default: full float32 precision"
    )
    text_state_dtype: Literal["fp32", "bf16"] = HfArg(
        default="fp32", help="precision in which keys and values of the rows' prompts are kept (--row_memory_mb)"
    )
    prompt_padding: Literal["aligned", "published"] = HfArg(
        default="aligned",
        help="aligned: a row's patches stand directly behind its own prompt and padding is ignored; published: prompts "
        "are padded with end-of-text tokens to the longest of the batch, and the padding is read as text",
    )
    published_description: bool = HfArg(
        default=False, help="published: describe every data set as the transformer temperatures of ETT"
    )
    llm_dropout: bool = HfArg(default=False, help="published: dropout in the frozen LLM during training")
    all_lags: bool = HfArg(
        default=False, help="published: the top 5 lags may include lag 0 and the mirror seq_len-k of every lag k"
    )
    float32_statistics: bool = HfArg(
        default=False,
        help="published: statistics in float32, where rounding breaks ties of lags and decides the trend of a row that "
        "ends where it began",
    )
    patch_input_bf16: bool = HfArg(
        default=False,
        help="published: round the patches' input to bfloat16 at any --precision; --compat_official does so with "
        "--precision bf16 only",
    )
    compat_official: bool = HfArg(default=False, help=f"behave as the published code: overrides {', '.join(PUBLISHED)}")

    def __post_init__(self) -> None:
        """Validate the config."""
        PatchConfig.__post_init__(self)
        LLMConfig.__post_init__(self)
        if self.compat_official:
            for name, value in PUBLISHED.items():
                object.__setattr__(self, name, value)
        for name in ("d_model", "d_ff", "n_heads", "num_prototypes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        check_dropout(self.dropout)
        if self.prompt_digits is not None and self.prompt_digits < 0:
            raise ValueError(f"--prompt_digits must be at least 0, got {self.prompt_digits}")
        if self.published_description and self.description is not None:
            raise ValueError("--description has no effect with --published_description or --compat_official: drop one")


class TimeLLM(Forecaster):
    """Channel-independent forecaster whose frozen language model reads a prompt and then the reprogrammed patches.

    Jin et al., "Time-LLM: Time Series Forecasting by Reprogramming Large Language Models" (ICLR 2024), section 3.
    Trained are the patch embedding, the text prototypes, their attention and the head.
    """

    Config = TimeLLMConfig
    may_leave_parameters_out = False
    channel_independent = True

    def __init__(self, config: TimeLLMConfig, spec: ForecastSpec, backbone: Backbone) -> None:
        super().__init__()
        self.config, self.spec, self.backbone = config, spec, backbone
        self.num_patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self._check_fit(backbone.width)
        num_words, width = backbone.word_table().shape
        self.patch_embedding = PatchEmbedding(config.patch_len, config.d_model, config.dropout)
        self.prototypes = TextPrototypes(num_words, config.num_prototypes)
        self.reprogramming = Reprogramming(
            config.d_model, width, n_heads=config.n_heads, head_width=config.d_ff, dropout=config.dropout
        )
        self.reader = PromptedReader(
            backbone,
            self._writer(),
            num_patches=self.num_patches,
            padding=config.prompt_padding,
            dropout=config.llm_dropout,
            kept_dtype=DTYPES[config.text_state_dtype],
        )
        self.head = FlattenHead(self.num_patches, config.d_ff, spec.pred_len, config.dropout)
        self._kept_prototypes: tuple[object, tuple[Tensor, Tensor]] | None = None

    @classmethod
    def build(cls, config: TimeLLMConfig, spec: ForecastSpec) -> Self:
        """Build the model and load its LLM in `spec.dtype`; ValueError or FileNotFoundError if that fails."""
        return cls(config, spec, load_backbone(config, PROMPT_WORDS, spec.dtype))

    def forward(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> Forecast:
        """Forecast from rows and their `prompt_inputs` or `cached_features`."""
        with torch.autocast(look_back.device.type, enabled=False):
            statistics = InstanceStatistics.of(look_back)
            patches = self.embed_patches(statistics.normalise(look_back)[:, :, 0])
            described = self.reprogramming(patches, *self.prototype_keys_values())
            states = self.reader(described, prompt_inputs)
            values = self.head(states[..., : self.config.d_ff])
            return Forecast(statistics.denormalise(values[:, :, None]))

    def embed_patches(self, rows: Float[Tensor, "row seq_len"]) -> Float[Tensor, "row patch d_model"]:
        """Embedded patches of normalised rows."""
        if self.config.patch_input_bf16 or (self.config.compat_official and self.spec.dtype == torch.bfloat16):
            rows = rows.bfloat16().float()
        return self.patch_embedding(cut_patches(rows, patch_len=self.config.patch_len, stride=self.config.stride))

    def prototype_keys_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the text prototypes: once a step in training, once per update of the weights without."""
        if torch.is_grad_enabled():
            return self._compute_keys_values()
        read = (*self.prototypes.parameters(), *self.reprogramming.parameters(), self.backbone.word_table())
        key = tuple((parameter._version, parameter.device, parameter.dtype) for parameter in read)
        if self._kept_prototypes is None or self._kept_prototypes[0] != key:
            self._kept_prototypes = (key, self._compute_keys_values())
        return self._kept_prototypes[1]

    def _compute_keys_values(self) -> tuple[Tensor, Tensor]:
        return self.reprogramming.keys_values(self.prototypes(self.backbone.word_table()))

    def prompt_inputs(self, look_back: Float[Tensor, "row seq_len 1"]) -> dict[str, Tensor]:
        """Token ids of each row's prompt; ValueError if a prompt is too long for the LLM."""
        return self.reader.prompt_inputs(look_back[:, :, 0])

    @property
    def features_are_constant(self) -> bool:
        """Whether keys and values of a row's prompt can be cached."""
        return self.reader.keeps_prompts

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Keys and values of the rows' prompts, in `--text_state_dtype`."""
        return self.reader.kept_prompt(prompt_inputs)

    def fingerprint(self) -> dict[str, Any]:
        """Name, number of blocks and hashes of the LLM."""
        return dict(self.backbone.fingerprint)

    def _writer(self) -> TaskPromptWriter:
        config, spec = self.config, self.spec
        own = spec.published_description if config.published_description else spec.description
        return TaskPromptWriter(
            self.backbone.tokenizer,
            own if config.description is None else config.description,
            spec.seq_len,
            spec.pred_len,
            digits=config.prompt_digits,
            all_lags=config.all_lags,
            float32=config.float32_statistics,
        )

    def _check_fit(self, width: int) -> None:
        seq_len, d_ff = self.spec.seq_len, self.config.d_ff
        if seq_len < 2 * NUM_LAGS:
            raise ValueError(f"--seq_len must be at least {2 * NUM_LAGS} for Time-LLM's {NUM_LAGS} lags, got {seq_len}")
        if d_ff > width:
            raise ValueError(f"--d_ff must be at most the LLM's width {width}, got {d_ff}: lower --d_ff")
