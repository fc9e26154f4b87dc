"""BALM-TSF: a patch encoder and a frozen language model that reads each row's statistics (arXiv 2509.00622)."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.alignment import balancing_scale, compare_branches, info_nce, token_deviation
from layers.backbones import Backbone
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.llm.loading import LLMConfig, llm_width, load_backbone
from layers.patching import PatchEmbedding, cut_patches, num_patches
from layers.prompt import WORDS, PromptWriter
from layers.statistics import NUM_LAGS
from layers.text_encoder import TextEncoder, TextFeatures
from models.base import Forecast, Forecaster, ForecastSpec

if TYPE_CHECKING:
    from layers.controls.vectors import VectorEncoder

# The published code's departures from the paper, turned on by --compat_official.
PUBLISHED: dict[str, Any] = {
    "prompt_padding": "published",
    "positive_among_negatives": True,
    "llm_dropout": True,
    "all_lags": True,
    "float32_statistics": True,
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Controls that read the LLM's words or states, and those that need nothing of it but its width.
TEXT_CONTROLS = {
    "attention": "AttentionTextEncoder",
    "shuffled": "ShuffledTextEncoder",
    "words": "WordsTextEncoder",
    "constant": "ConstantTextEncoder",
}
WITHOUT_LLM = ("none", "numbers", "mlp")


@dataclass(frozen=True)
class BALMConfig(LLMConfig):
    """Settings of BALM: sizes, control experiments, and the published code's departures from the paper."""

    d_model: int = HfArg(default=32, help="width of a patch embedding")
    d_ff: int = HfArg(default=128, help="number of LLM dimensions that the head reads (the first ones)")
    patch_len: int = HfArg(default=16, help="length of a patch, in time steps")
    stride: int = HfArg(default=8, help="stride between patches, in time steps")
    dropout: float = HfArg(default=0.1, help="dropout rate of the patch embeddings and of the head's output")
    text_branch: Literal[
        "llm", "random_llm", "none", "attention", "shuffled", "permuted", "constant", "words", "numbers", "mlp"
    ] = HfArg(
        default="llm",
        help="text encoder: llm, the frozen LLM; random_llm, the same architecture with random weights (--llm_seed); "
        "none; attention, one trainable attention layer over the LLM's token embeddings; shuffled, each row gets the "
        "text of the row half a batch away, in training and evaluation; permuted, each row gets the text of another "
        "row of its split, by a fixed permutation; constant, all rows get the same text; words, means of the LLM's "
        "word embeddings, no transformer; numbers, a small network on the prompt's statistics as numbers; mlp, the "
        "same network on the window itself",
    )
    learnable_prompt: bool = HfArg(default=True, help="put trainable prompt tokens in front of the text")
    freeze_prompt_after: int | None = HfArg(
        default=None,
        help="freeze the learnable prompt after this many epochs (0 = from the start) and cache each row's text "
        "features from then on. Default: never",
    )
    prompt_digits: int | None = HfArg(
        default=None, help="decimals of the (normalised) numbers in a prompt; default: full float32 precision"
    )
    text_state_dtype: Literal["fp32", "bf16"] = HfArg(default="fp32", help="precision of cached text features")
    scaling: bool = HfArg(default=True, help="scale text states to the deviation of the time tokens")
    alignment_weight: float = HfArg(default=1.0, help="weight of the contrastive loss (0 turns it off)")
    alignment_rows: int = HfArg(
        default=0,
        help="take negatives from groups of this many consecutive rows of a rank's batch (0 = the whole batch); the "
        "published runs had 4 ranks of 24 rows",
    )
    gather_negatives: bool = HfArg(
        default=False,
        help="take negatives from all ranks, as one process with the whole batch would (default: each rank its own, as "
        "published)",
    )
    prompt_padding: Literal["aligned", "published"] = HfArg(
        default="aligned",
        help="aligned: each row is read up to its own last token and padding is ignored; published: prompts are padded "
        "with end-of-text tokens to the longest of the batch, and the padding is read as text",
    )
    positive_among_negatives: bool = HfArg(
        default=False, help="published: the contrastive loss counts the positive as a negative too"
    )
    llm_dropout: bool = HfArg(default=False, help="published: dropout in the frozen LLM during training")
    all_lags: bool = HfArg(
        default=False, help="published: the top 5 lags may include lag 0 and the mirror seq_len-k of every lag k"
    )
    float32_statistics: bool = HfArg(
        default=False, help="published: statistics in float32, where rounding breaks ties of lags; default: smaller lag"
    )
    patch_input_bf16: bool = HfArg(
        default=False,
        help="published: round the patch encoder's input to bfloat16 at any --precision; --compat_official does so "
        "with --precision bf16 only",
    )
    compat_official: bool = HfArg(default=False, help=f"behave as the published code: overrides {', '.join(PUBLISHED)}")

    def __post_init__(self) -> None:
        """Validate the config."""
        super().__post_init__()
        if self.compat_official:
            for name, value in PUBLISHED.items():
                object.__setattr__(self, name, value)
        smallest = {"d_model": 1, "d_ff": 1, "patch_len": 1, "stride": 1, "alignment_weight": 0, "alignment_rows": 0}
        for name, least in smallest.items():
            _require(getattr(self, name) >= least, f"--{name} must be at least {least}, got {getattr(self, name)}")
        _require(0 <= self.dropout < 1, f"--dropout must be at least 0 and below 1, got {self.dropout}")
        digits, freeze = self.prompt_digits, self.freeze_prompt_after
        _require(digits is None or digits >= 0, f"--prompt_digits must be at least 0, got {digits}")
        _require(freeze is None or freeze >= 0, f"--freeze_prompt_after must be at least 0 epochs, got {freeze}")
        _require(
            freeze is None or (self.learnable_prompt and self.text_branch not in WITHOUT_LLM),
            "--freeze_prompt_after has nothing to freeze without a learnable prompt: leave it out",
        )


@dataclass(frozen=True)
class Encoding:
    """Encoded rows: time tokens, text features and the `scale` that divides them (None with --text_branch none)."""

    statistics: InstanceStatistics
    time_tokens: Float[Tensor, "row patch d"]
    text: TextFeatures | None
    scale: Float[Tensor, "row d"] | None


class BALM(Forecaster):
    """Channel-independent forecaster that reads the look-back window and a prompt with its statistics.

    `backbone` is the frozen language model; a control that reads none needs only its `width`.
    """

    Config = BALMConfig
    channel_independent = True
    forecasts_quantiles = True
    renamed_parameters: ClassVar = {
        "learnable_prompt": "text_encoder.learnable_prompt",
        "text_attention.": "text_encoder.",
    }

    def __init__(
        self, config: BALMConfig, spec: ForecastSpec, backbone: Backbone | None, *, width: int | None = None
    ) -> None:
        super().__init__()
        self.config, self.spec, self.backbone = config, spec, backbone
        self.num_patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self.num_states = num_text_states(self.num_patches, spec) if config.text_branch != "none" else 0
        d = backbone.width if backbone is not None else width or llm_width(config)
        self._check_fit(d)
        self.patch_embedding = PatchEmbedding(config.patch_len, config.d_model, config.dropout)
        self.mapping = nn.Linear(config.d_model, d)
        self.quantiles = spec.quantiles
        self.may_leave_parameters_out = config.freeze_prompt_after is not None
        self.head = FlattenHead(self.num_states + self.num_patches, config.d_ff, spec.num_outputs, config.dropout)
        self.text_encoder: TextEncoder | VectorEncoder | None = None
        if backbone is not None:
            self.text_encoder = self._text_encoder(backbone)
        elif self.num_states:
            self.text_encoder = self._vector_encoder(d)
        if self.text_encoder is not None and config.alignment_weight:
            self.log_tau = nn.Parameter(torch.tensor(math.log(0.07)))

    @classmethod
    def build(cls, config: BALMConfig, spec: ForecastSpec) -> Self:
        """Build the model and load its LLM in `spec.dtype`; ValueError or FileNotFoundError if that fails."""
        if config.text_branch in WITHOUT_LLM:
            return cls(config, spec, None)
        dtype = torch.float32 if config.text_branch == "attention" else spec.dtype
        return cls(config, spec, load_backbone(config, WORDS, dtype, random_weights=config.text_branch == "random_llm"))

    def compile_blocks(self, **how: Any) -> str | None:
        """Compile the packed block of GPT-2, where texts are packed."""
        return self.text_encoder.compile_block(**how) if isinstance(self.text_encoder, TextEncoder) else None

    def _text_encoder(self, backbone: Backbone) -> TextEncoder:
        config, kind = self.config, TextEncoder
        if config.text_branch in TEXT_CONTROLS:
            kind = getattr(importlib.import_module("layers.controls.texts"), TEXT_CONTROLS[config.text_branch])
        encoder = kind(
            backbone,
            PromptWriter(
                backbone.tokenizer, config.prompt_digits, config.all_lags, config.float32_statistics, backbone.pad_id
            ),
            num_states=self.num_states,
            d_ff=config.d_ff,
            learnable_prompt=config.learnable_prompt,
            padding=config.prompt_padding,
            dropout=config.llm_dropout,
            feature_dtype=DTYPES[config.text_state_dtype],
        )
        encoder.check_positions(encoder.writer.typical_length)
        encoder.train_prompt(config.freeze_prompt_after != 0)
        if self.spec.device.type != "cpu":
            encoder.pack_if_possible()
        return encoder

    def _vector_encoder(self, width: int) -> VectorEncoder:
        from layers.controls.vectors import NumbersEncoder, WindowEncoder

        config = self.config
        sizes = {"width": width, "num_states": self.num_states, "d_ff": config.d_ff, "hidden": config.d_model}
        if config.text_branch == "mlp":
            return WindowEncoder(self.spec.seq_len, **sizes)
        return NumbersEncoder(
            digits=config.prompt_digits, all_lags=config.all_lags, float32=config.float32_statistics, **sizes
        )

    def forward(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> Forecast:
        """Forecast from rows and their `prompt_inputs` or `cached_features`."""
        with torch.autocast(look_back.device.type, enabled=False):
            encoding = self.encode(look_back, **prompt_inputs)
            values = encoding.statistics.denormalise(self.head(self.head_tokens(encoding))[:, :, None])
            if not self.training or encoding.text is None or not self.config.alignment_weight:
                return self.forecast_of(values)
            return self.forecast_of(
                values, {"alignment": self.config.alignment_weight * self._alignment_loss(encoding)}
            )

    def encode(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> Encoding:
        """Patch encoder, text encoder and scaling (paper, sections 3.1 to 3.3)."""
        statistics = InstanceStatistics.of(look_back)
        rows = statistics.normalise(look_back)[:, :, 0]
        if self.config.patch_input_bf16 or (self.config.compat_official and self.spec.dtype == torch.bfloat16):
            rows = rows.bfloat16().float()
        patches = cut_patches(rows, patch_len=self.config.patch_len, stride=self.config.stride)
        time_tokens = self.mapping(self.patch_embedding(patches))
        if self.text_encoder is None:
            return Encoding(statistics, time_tokens, None, None)
        text = self.text_encoder(prompt_inputs)
        scale = torch.ones_like(text.deviation)
        if self.config.scaling:
            scale = balancing_scale(text.deviation, token_deviation(time_tokens))
        return Encoding(statistics, time_tokens, text, scale)

    def head_tokens(self, encoding: Encoding) -> Float[Tensor, "row token d_ff"]:
        """Input of the head: scaled text states, then time tokens, the first `d_ff` dimensions of each."""
        time_tokens = encoding.time_tokens[..., : self.config.d_ff]
        if encoding.text is None or encoding.scale is None:
            return time_tokens
        return torch.cat([encoding.text.head / encoding.scale[:, None, : self.config.d_ff], time_tokens], dim=1)

    def chance_losses(self, batch_size: int) -> dict[str, float]:
        """The contrastive loss of a row whose text is as far from it as all others: ln(rows), times its weight."""
        if self.text_encoder is None or not self.config.alignment_weight:
            return {}
        candidates = min(self.config.alignment_rows or batch_size, batch_size) + self.config.positive_among_negatives
        return {"alignment": self.config.alignment_weight * math.log(candidates)}

    def _alignment_loss(self, encoding: Encoding) -> Float[Tensor, ""]:
        """Contrastive loss between mean time token and mean text state of each row (section 3.4)."""
        assert encoding.text is not None and encoding.scale is not None
        pairs = torch.stack([encoding.time_tokens.mean(dim=1), encoding.text.mean / encoding.scale], dim=1)
        if self.config.gather_negatives:
            from layers.gather_rows import rows_of_all_processes

            pairs = rows_of_all_processes(pairs)
        queries, keys = pairs.unbind(dim=1)
        return info_nce(
            queries,
            keys,
            self.log_tau,
            positive_among_negatives=self.config.positive_among_negatives,
            group_rows=self.config.alignment_rows,
        )

    def start_epoch(self, epoch: int) -> None:
        """Freeze the learnable prompt after `--freeze_prompt_after` epochs."""
        if self.text_encoder is not None:
            freeze = self.config.freeze_prompt_after
            self.text_encoder.train_prompt(freeze is None or epoch < freeze)

    def prompt_inputs(self, look_back: Float[Tensor, "row seq_len 1"]) -> dict[str, Tensor]:
        """Token ids of each row's prompt; ValueError if a prompt is too long for the LLM."""
        return {} if self.text_encoder is None else self.text_encoder.prompt_inputs(look_back[:, :, 0])

    @property
    def permutes_prompts(self) -> bool:
        """Whether a row gets the prompt of another row (`--text_branch permuted`)."""
        return self.config.text_branch == "permuted"

    @property
    def features_are_constant(self) -> bool:
        """Whether a row's text features can be cached."""
        return self.text_encoder is not None and self.text_encoder.features_are_constant

    @property
    def cache_key(self) -> int:
        """Version of the learnable prompt: changes whenever it is updated or loaded."""
        return 0 if self.text_encoder is None else self.text_encoder.prompt_version

    def features_identity(self) -> dict[str, Any]:
        """The LLM, the learnable prompt, and how the text is read."""
        if not isinstance(self.text_encoder, TextEncoder) or self.backbone is None:
            return {}
        llm = {name: value for name, value in self.backbone.fingerprint.items() if name not in ("name", "description")}
        return {"llm": llm, "precision": str(self.spec.dtype), **self.text_encoder.identity()}

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Text features to cache, in `--text_state_dtype`."""
        assert isinstance(self.text_encoder, TextEncoder)
        return self.text_encoder.cached_features(prompt_inputs)

    @torch.no_grad()
    def diagnostics(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Per row and branch (time, text, scaled text): mean token, its norm, and mean deviation over tokens."""
        with torch.autocast(look_back.device.type, enabled=False):
            encoding = self.encode(look_back, **prompt_inputs)
        if encoding.text is None or encoding.scale is None:
            return {}
        return compare_branches(encoding.time_tokens, encoding.text.mean, encoding.text.deviation, encoding.scale)

    def inference_parameters(self) -> int:
        """All parameters except the temperature of the contrastive loss; includes the whole token embedding matrix."""
        return sum(p.numel() for name, p in self.named_parameters() if name != "log_tau")

    @property
    def random_llm_is_a_control(self) -> bool:
        """With `--text_branch random_llm`; tables show that flag."""
        return self.config.text_branch == "random_llm"

    def fingerprint(self) -> dict[str, Any]:
        """Name, number of blocks and hashes of the LLM."""
        return {} if self.backbone is None else dict(self.backbone.fingerprint)

    def saved_state(self) -> dict[str, Tensor]:
        """Everything but the frozen LLM; includes the learnable prompt even when frozen."""
        state = super().saved_state()
        prompt = None if self.text_encoder is None else self.text_encoder.learnable_prompt
        return state if prompt is None else {**state, "text_encoder.learnable_prompt": prompt.detach()}

    def _check_fit(self, d: int) -> None:
        seq_len, pred_len, d_ff = self.spec.seq_len, self.spec.pred_len, self.config.d_ff
        _require(
            seq_len >= 2 * NUM_LAGS,
            f"--seq_len must be at least {2 * NUM_LAGS} for BALM's {NUM_LAGS} lags, got {seq_len}",
        )
        _require(d_ff <= d, f"--d_ff must be at most the LLM's width {d}, got {d_ff}: lower --d_ff")
        _require(
            self.num_states != 1 or not self.config.scaling,
            f"--pred_len {pred_len} at --seq_len {seq_len} leaves BALM one text state, which has no deviation to "
            "scale by: raise --pred_len, lower --seq_len, or give --no_scaling",
        )


def num_text_states(patches: int, spec: ForecastSpec) -> int:
    """Number of text states and of learnable prompt tokens: patches * pred_len / seq_len, clipped to 1..patches."""
    return max(1, min(patches, patches * spec.pred_len // spec.seq_len))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
