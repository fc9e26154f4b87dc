"""BALM-TSF: a patch encoder beside a frozen GPT-2 that reads each row's statistics (arXiv 2509.00622)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from layers.alignment import balancing_scale, info_nce, token_deviation
from layers.backbones import LLM, LLMConfig, llm_width, load_backbone
from layers.fast_gpt2.text_states import text_states
from layers.gather_rows import rows_of_all_processes
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.patching import PatchEmbedding, cut_patches, num_patches
from layers.prompt import TYPICAL, WORDS, prompt_texts, tokenise
from layers.statistics import NUM_LAGS, RowStatistics
from layers.text_attention import TextAttention
from models.base import Forecast, Forecaster, ForecastSpec

# What --compat_official turns on, all at once: the published code's departures from the paper.
PUBLISHED: dict[str, Any] = {
    "prompt_padding": "published",
    "positive_among_negatives": True,
    "llm_dropout": True,
    "all_lags": True,
    "float32_statistics": True,
}


@dataclass(frozen=True)
class Text:
    """All that the rest of the model needs of a row's text states."""

    head: Float[Tensor, "row state d_ff"]
    mean: Float[Tensor, "row d"]
    deviation: Float[Tensor, "row d"]


@dataclass(frozen=True)
class Encoding:
    """Both branches of some rows; `scale` is what the text is divided by."""

    statistics: InstanceStatistics
    time_tokens: Float[Tensor, "row patch d"]
    text: Text | None
    scale: Float[Tensor, "row d"] | None


@dataclass(frozen=True)
class BALMConfig(LLMConfig):
    """Sizes of BALM, its controls, and the published code's departures from the paper as switches."""

    d_model: int = field(default=32, metadata={"help": "width of a patch embedding"})
    d_ff: int = field(default=128, metadata={"help": "how many of the LLM's dimensions the head reads, the first ones"})
    patch_len: int = field(default=16, metadata={"help": "length of a patch in time steps"})
    stride: int = field(default=8, metadata={"help": "time steps from one patch to the next"})
    dropout: float = field(default=0.1, metadata={"help": "dropout of patch embeddings and of the head's output"})
    text_branch: Literal["llm", "random_llm", "none", "attention", "shuffled"] = field(
        default="llm",
        metadata={
            "help": "what stands beside the patch encoder: llm, the frozen LLM; random_llm, its architecture with "
            "random weights (--llm_seed); none; attention, one trainable attention layer over the LLM's word "
            "embeddings; shuffled, the LLM reads the prompt of the row half a batch away, in training and evaluation"
        },
    )
    learnable_prompt: bool = field(default=True, metadata={"help": "put trainable prompt tokens before the text"})
    freeze_prompt_after: int | None = field(
        default=None,
        metadata={
            "help": "train the prompt tokens for this many epochs only (0 = never); each row's text is then read once "
            "and kept. Default: train them always"
        },
    )
    prompt_digits: int | None = field(
        default=None,
        metadata={"help": "decimals of the (normalised) numbers in a prompt. Default: full float32 precision"},
    )
    text_state_dtype: Literal["fp32", "bf16"] = field(
        default="fp32", metadata={"help": "precision in which constant text states are kept in memory"}
    )
    scaling: bool = field(default=True, metadata={"help": "scale text states to the deviation of the time tokens"})
    alignment_weight: float = field(default=1.0, metadata={"help": "weight of the contrastive loss (0 = without it)"})
    alignment_rows: int = field(
        default=0,
        metadata={
            "help": "contrast rows within groups of this many consecutive rows of a process's batch (0 = all of them); "
            "the published runs on 4 processes contrasted 24 rows"
        },
    )
    gather_negatives: bool = field(
        default=False,
        metadata={
            "help": "contrast the rows of all processes together, as one process with the whole batch would (default: "
            "each process its own rows, as published)"
        },
    )
    prompt_padding: Literal["aligned", "published"] = field(
        default="aligned",
        metadata={
            "help": "aligned: padding is unseen and every row read at its own end; published: prompts are filled with "
            "end-of-text tokens to the longest of the batch, which are read as text"
        },
    )
    positive_among_negatives: bool = field(
        default=False, metadata={"help": "published: the contrastive loss counts a row's own text as a negative too"}
    )
    llm_dropout: bool = field(default=False, metadata={"help": "published: the frozen LLM drops out while training"})
    all_lags: bool = field(
        default=False, metadata={"help": "published: lag 0 and every lag's mirror seq_len-k are among the top 5 lags"}
    )
    float32_statistics: bool = field(
        default=False,
        metadata={"help": "published: statistics in float32, whose rounding orders equal lags; default: smaller first"},
    )
    patch_input_bf16: bool = field(
        default=False,
        metadata={
            "help": "published: the patch encoder's input is rounded to bfloat16 whatever the precision; "
            "--compat_official does so with --precision bf16 only (the golden vectors are of float32)"
        },
    )
    compat_official: bool = field(
        default=False, metadata={"help": f"turn on the published code's {', '.join(PUBLISHED)}, whatever they say"}
    )

    def __post_init__(self) -> None:
        """ValueError for values that no BALM can be built with."""
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
            freeze is None or (self.learnable_prompt and self.text_branch != "none"),
            "--freeze_prompt_after has nothing to freeze without a learnable prompt: leave it out",
        )


class BALM(Forecaster):
    """Patches and prompt of one channel's look-back, balanced, aligned and mapped to its horizon.

    `llm` is the frozen LLM with its tokenizer; `--text_branch none` has none and needs only the LLM's `width`.
    """

    Config = BALMConfig
    channel_independent = True

    def __init__(self, config: BALMConfig, spec: ForecastSpec, llm: LLM | None, *, width: int | None = None) -> None:
        super().__init__()
        self.config, self.spec, self.llm = config, spec, llm
        self.num_patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self.num_states = num_text_states(self.num_patches, spec) if llm is not None else 0
        d = llm.model.config.n_embd if llm is not None else width or llm_width(config)
        self._check_fit(d)
        self.patch_embedding = PatchEmbedding(config.patch_len, config.d_model, config.dropout)
        self.mapping = nn.Linear(config.d_model, d)
        self.head = FlattenHead(self.num_states + self.num_patches, config.d_ff, spec.pred_len, config.dropout)
        self.learnable_prompt: nn.Parameter | None = None
        if llm is None:
            return
        if config.text_branch == "attention":
            self.text_attention = TextAttention(llm.model)
        else:
            self.gpt2 = llm.model
        if config.learnable_prompt:
            self.learnable_prompt = nn.Parameter(torch.randn(self.num_states, d))
            self.start_epoch(0)
        if config.alignment_weight:
            self.log_tau = nn.Parameter(torch.tensor(math.log(0.07)))

    @classmethod
    def build(cls, config: BALMConfig, spec: ForecastSpec) -> Self:
        """The model with its LLM loaded in `spec.dtype`; ValueError or FileNotFoundError when that cannot be."""
        if config.text_branch == "none":
            return cls(config, spec, None)
        dtype = torch.float32 if config.text_branch == "attention" else spec.dtype
        return cls(config, spec, load_backbone(config, WORDS, dtype, random_weights=config.text_branch == "random_llm"))

    def forward(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> Forecast:
        """Forecasts from rows and their `prompt_inputs`, or their `cached_features` in place of these."""
        with torch.autocast(look_back.device.type, enabled=False):
            encoding = self.encode(look_back, **prompt_inputs)
            values = encoding.statistics.denormalise(self.head(self.head_tokens(encoding))[:, :, None])
            if not self.training or encoding.text is None or not self.config.alignment_weight:
                return Forecast(values)
            return Forecast(values, {"alignment": self.config.alignment_weight * self._alignment_loss(encoding)})

    def encode(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> Encoding:
        """Both branches of every row, before they are joined."""
        statistics = InstanceStatistics.of(look_back)
        rows = statistics.normalise(look_back)[:, :, 0]
        if self.config.patch_input_bf16 or (self.config.compat_official and self.spec.dtype == torch.bfloat16):
            rows = rows.bfloat16().float()
        patches = cut_patches(rows, patch_len=self.config.patch_len, stride=self.config.stride)
        time_tokens = self.mapping(self.patch_embedding(patches))
        if self.llm is None:
            return Encoding(statistics, time_tokens, None, None)
        text = self._text(prompt_inputs)
        scale = torch.ones_like(text.deviation)
        if self.config.scaling:
            scale = balancing_scale(text.deviation, token_deviation(time_tokens))
        return Encoding(statistics, time_tokens, text, scale)

    def head_tokens(self, encoding: Encoding) -> Float[Tensor, "row token d_ff"]:
        """What the head reads: the scaled text states, then the time tokens, the first `d_ff` dimensions of each."""
        time_tokens = encoding.time_tokens[..., : self.config.d_ff]
        if encoding.text is None or encoding.scale is None:
            return time_tokens
        return torch.cat([encoding.text.head / encoding.scale[:, None, : self.config.d_ff], time_tokens], dim=1)

    def _alignment_loss(self, encoding: Encoding) -> Float[Tensor, ""]:
        assert encoding.text is not None and encoding.scale is not None
        pairs = torch.stack([encoding.time_tokens.mean(dim=1), encoding.text.mean / encoding.scale], dim=1)
        queries, keys = (rows_of_all_processes(pairs) if self.config.gather_negatives else pairs).unbind(dim=1)
        return info_nce(
            queries,
            keys,
            self.log_tau,
            positive_among_negatives=self.config.positive_among_negatives,
            group_rows=self.config.alignment_rows,
        )

    def _text(self, prompt_inputs: dict[str, Tensor]) -> Text:
        if "text_head" in prompt_inputs:
            text = Text(*(prompt_inputs[f"text_{part}"].float() for part in ("head", "mean", "deviation")))
        else:
            text = self._summary(self.text_states(prompt_inputs["prompt_ids"], prompt_inputs["prompt_lengths"]))
        if self.config.text_branch != "shuffled":
            return text
        shift = max(1, len(text.mean) // 2)
        return Text(*(part.roll(shift, dims=0) for part in (text.head, text.mean, text.deviation)))

    def _summary(self, states: Float[Tensor, "row state d"]) -> Text:
        return Text(states[..., : self.config.d_ff], states.mean(dim=1), token_deviation(states))

    def text_states(
        self, prompt_ids: Integer[Tensor, "row width"], prompt_lengths: Integer[Tensor, "row"]
    ) -> Float[Tensor, "row state d"]:
        """The last states of the LLM on [learnable prompt; a row's tokens], float32."""
        assert self.llm is not None
        ids, lengths = prompt_ids.long(), prompt_lengths.long()
        if self.config.text_branch == "attention":
            return self.text_attention(self.learnable_prompt, ids, lengths, self.num_states)
        return text_states(
            self.gpt2,
            self.learnable_prompt,
            ids,
            lengths,
            self.num_states,
            padding=self.config.prompt_padding,
            pad_id=self.llm.pad_id,
            dropout=self._llm_drops_out,
        )

    @property
    def _llm_drops_out(self) -> bool:
        if not (self.training and self.config.llm_dropout) or self.config.text_branch == "attention":
            return False
        rates = self.gpt2.config
        return max(rates.embd_pdrop, rates.attn_pdrop, rates.resid_pdrop) > 0

    def train(self, mode: bool = True) -> Self:
        """As usual, but the frozen LLM stays in evaluation mode: dropout in it would make a row's text random."""
        super().train(mode)
        if self.llm is not None:
            self.llm.model.eval()
        return self

    def start_epoch(self, epoch: int) -> None:
        """Stops training the learnable prompt once `--freeze_prompt_after` epochs have passed."""
        if self.learnable_prompt is not None:
            freeze = self.config.freeze_prompt_after
            self.learnable_prompt.requires_grad_(freeze is None or epoch < freeze)

    def prompt_inputs(self, look_back: Float[Tensor, "row seq_len 1"]) -> dict[str, Tensor]:
        """Every row's prompt as `prompt_ids` and `prompt_lengths`; ValueError when one exceeds the LLM's positions."""
        if self.llm is None:
            return {}
        statistics = RowStatistics.of(
            look_back[:, :, 0], all_lags=self.config.all_lags, float32=self.config.float32_statistics
        )
        texts = prompt_texts(statistics, self.config.prompt_digits)
        # Without learnable prompt a text can be shorter than the states that are read of it (H=720).
        min_tokens = 0 if self.config.learnable_prompt else self.num_states
        ids, lengths = tokenise(self.llm.tokenizer, texts, min_tokens=min_tokens)
        self._check_positions(ids.shape[1])
        return {"prompt_ids": ids, "prompt_lengths": lengths}

    @property
    def features_are_constant(self) -> bool:
        """Whether nothing trains before the text states and no row's depend on its batch."""
        if self.llm is None or self.config.text_branch == "attention":
            return False
        trains = self.learnable_prompt is not None and self.learnable_prompt.requires_grad
        return not trains and self.config.prompt_padding == "aligned" and not self.config.llm_dropout

    @property
    def cache_key(self) -> int:
        """How often the learnable prompt has been written to, by training or by loading."""
        return 0 if self.learnable_prompt is None else self.learnable_prompt._version

    @torch.no_grad()
    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Text states as far as they are needed: `text_head`, `text_mean`, `text_deviation` in `--text_state_dtype`."""
        text = self._summary(self.text_states(prompt_inputs["prompt_ids"], prompt_inputs["prompt_lengths"]))
        dtype = torch.bfloat16 if self.config.text_state_dtype == "bf16" else torch.float32
        return {f"text_{part}": getattr(text, part).to(dtype) for part in ("head", "mean", "deviation")}

    @torch.no_grad()
    def diagnostics(self, look_back: Float[Tensor, "row seq_len 1"], **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Per row the token means of both branches (text also scaled), their norms, and mean deviations over tokens."""
        with torch.autocast(look_back.device.type, enabled=False):
            encoding = self.encode(look_back, **prompt_inputs)
        if encoding.text is None or encoding.scale is None:
            return {}
        time_tokens, text, scale = encoding.time_tokens, encoding.text, encoding.scale
        means = {"time": time_tokens.mean(dim=1), "text": text.mean, "text_scaled": text.mean / scale}
        deviations = {
            "time": token_deviation(time_tokens),
            "text": text.deviation,
            "text_scaled": text.deviation / scale,
        }
        return {
            **{f"{name}_mean": mean for name, mean in means.items()},
            **{f"{name}_norm": mean.norm(dim=1) for name, mean in means.items()},
            **{f"{name}_std": deviation.mean(dim=1) for name, deviation in deviations.items()},
        }

    def inference_parameters(self) -> int:
        """All parameters but the temperature of the contrastive loss; the word table counts whole."""
        return sum(p.numel() for name, p in self.named_parameters() if name != "log_tau")

    def fingerprint(self) -> dict[str, Any]:
        """The LLM's name, depth and hashes."""
        return {} if self.llm is None else dict(self.llm.fingerprint)

    def saved_state(self) -> dict[str, Tensor]:
        """Everything but the frozen LLM; a learnable prompt also after it was frozen."""
        state = super().saved_state()
        return state if self.learnable_prompt is None else {**state, "learnable_prompt": self.learnable_prompt.detach()}

    def _check_fit(self, d: int) -> None:
        _require(
            self.spec.seq_len >= 2 * NUM_LAGS,
            f"--seq_len must be at least {2 * NUM_LAGS} for BALM's {NUM_LAGS} lags, got {self.spec.seq_len}",
        )
        _require(
            self.config.d_ff <= d, f"--d_ff must be at most the LLM's width {d}, got {self.config.d_ff}: lower --d_ff"
        )
        _require(
            self.num_states != 1 or not self.config.scaling,
            f"--pred_len {self.spec.pred_len} at --seq_len {self.spec.seq_len} leaves BALM one text state, which has "
            "no deviation to scale by: raise --pred_len, lower --seq_len, or give --no_scaling",
        )
        if self.llm is not None:
            self._check_positions(len(self.llm.tokenizer.encode(TYPICAL).ids))

    def _check_positions(self, num_text_tokens: int) -> None:
        assert self.llm is not None
        prefix = self.num_states if self.config.learnable_prompt else 0
        positions = self.llm.model.config.n_positions
        _require(
            prefix + num_text_tokens <= positions,
            f"--llm_model {self.config.llm_model} has {positions} positions, but a prompt needs {prefix} learnable and "
            f"{num_text_tokens} text tokens: lower --pred_len, or choose an LLM with more",
        )


def num_text_states(patches: int, spec: ForecastSpec) -> int:
    """How many text states the head reads, as many as learnable prompt tokens: patches * H / T, in 1..patches."""
    return max(1, min(patches, patches * spec.pred_len // spec.seq_len))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
