"""TimeCMA: channels as tokens, aligned with a language model's reading of their values (arXiv 2406.01638)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone
from layers.encoder import check_dropout, check_heads
from layers.instance_norm import InstanceStatistics
from layers.llm.loading import LLMConfig, load_backbone
from layers.llm.tokenizer import token_ids
from layers.time_cma.prompt import PROMPT_WORDS, ValuePromptWriter, decimals_of, published_step, step_in_words
from layers.time_cma.retrieval import FeatureRetrieval
from layers.time_cma.text import LastTokenReader
from models.base import Forecast, Forecaster, ForecastSpec

# The published code's departures from good sense, turned on by --compat_official.
PUBLISHED: dict[str, Any] = {"published_prompt": True}
# Values in a prompt unless --prompt_len says otherwise: the published look-back.
PROMPT_LEN = 96
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CONSTANT_TEXT = "The values are not known."


@dataclass(frozen=True)
class TimeCMAConfig(LLMConfig):
    """Settings of TimeCMA; the defaults are the published ones for ETTh1 at horizons 96 and 192."""

    llm_layers: int = HfArg(default=12, help="number of blocks of the LLM to use, counted from the first")
    d_model: int = HfArg(default=64, help="width of a channel's token in the time branch")
    n_heads: int = HfArg(default=8, help="number of attention heads; divides --d_model and the LLM's width")
    e_layers: int = HfArg(default=1, help="number of encoder layers, in each branch")
    d_layers: int = HfArg(default=2, help="number of decoder layers")
    d_ff: int = HfArg(default=32, help="hidden width of the retrieval between the branches")
    feed_forward: int = HfArg(default=2048, help="hidden width of encoder and decoder layers")
    dropout: float = HfArg(default=0.7, help="dropout probability")
    weight_decay: float = HfArg(default=1e-3, help="decoupled weight decay (AdamW)")
    max_norm: float = HfArg(default=5.0, help="norm to which the gradient of a step is scaled down; 0 never does")
    prompt_len: int | None = HfArg(
        default=None,
        help=f"number of values in a prompt, the last ones of the look-back; default: at most {PROMPT_LEN}, or the "
        "whole look-back with --published_prompt",
    )
    prompt_digits: int | None = HfArg(
        default=None,
        help="decimals of the values in a prompt; default: none for a channel whose training deviation is at least 10, "
        "else three significant digits of it",
    )
    text_branch: Literal["llm", "random_llm", "shuffled", "none", "constant"] = HfArg(
        default="llm",
        help="what the text branch reads: llm, the frozen LLM's states; random_llm, the same architecture with random "
        "weights (--llm_seed); shuffled, each window the text of the window half a batch away; none, no text: the time "
        "branch retrieves from itself; constant, one text for all",
    )
    text_state_dtype: Literal["fp32", "bf16"] = HfArg(default="fp32", help="precision of cached text states")
    published_prompt: bool = HfArg(
        default=False,
        help="published: values are cut to integers, the trend is a sum of differences, and data sets that the "
        "published code does not know are called monthly",
    )
    compat_official: bool = HfArg(default=False, help=f"behave as the published code: overrides {', '.join(PUBLISHED)}")

    def __post_init__(self) -> None:
        """Validate the config."""
        super().__post_init__()
        if self.compat_official:
            for name, value in PUBLISHED.items():
                object.__setattr__(self, name, value)
        smallest = {"e_layers": 1, "d_layers": 1, "d_ff": 1, "feed_forward": 1, "weight_decay": 0, "max_norm": 0}
        for name, least in (smallest | {"prompt_len": 2, "prompt_digits": 0}).items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name} must be at least {least}, got {value}")
        check_heads(d_model=self.d_model, n_heads=self.n_heads)
        check_dropout(self.dropout)
        if self.published_prompt and self.prompt_digits is not None:
            raise ValueError("--prompt_digits has no effect on a published prompt, whose values are integers: drop it")


class TimeCMA(Forecaster):
    """A time branch over the channels of a window, a text branch over prompts of their values, and a retrieval.

    Liu et al., "TimeCMA: Towards LLM-Empowered Multivariate Time Series Forecasting via Cross-Modality Alignment"
    (AAAI 2025), section 3. The language model is frozen and reads each prompt once; its last token's state is kept.
    """

    Config = TimeCMAConfig
    may_leave_parameters_out = False
    needs_fixed_channels = True
    prompts_read_original: ClassVar[bool] = True

    def __init__(self, config: TimeCMAConfig, spec: ForecastSpec, backbone: Backbone | None) -> None:
        super().__init__()
        self.config, self.spec, self.backbone = config, spec, backbone
        if spec.num_channels < 2:
            raise ValueError(
                "TimeCMA normalises over channels and --data has one: choose a table with more, or a "
                "channel-independent model such as TimeLLM"
            )
        self.reader = None if backbone is None else LastTokenReader(backbone)
        self.writer = self._writer(backbone) if backbone is not None and config.text_branch != "constant" else None
        self.embedding = nn.Linear(spec.seq_len, config.d_model)
        self.time_encoder = self._encoder(config.d_model)
        self.prompt_encoder = None if backbone is None else self._encoder(_checked_width(config, backbone))
        self.retrieval = FeatureRetrieval(spec.num_channels, feed_forward=config.d_ff, dropout=config.dropout)
        layer = (config.d_model, config.n_heads, config.feed_forward, config.dropout)
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(*layer, batch_first=True, norm_first=True) for _ in range(config.d_layers)
        )
        self.head = nn.Linear(config.d_model, spec.pred_len)

    @classmethod
    def build(cls, config: TimeCMAConfig, spec: ForecastSpec) -> Self:
        """Build the model and load its LLM in `spec.dtype`; ValueError or FileNotFoundError if that fails."""
        if config.text_branch == "none":
            return cls(config, spec, None)
        is_random = config.text_branch == "random_llm"
        return cls(config, spec, load_backbone(config, PROMPT_WORDS, spec.dtype, random_weights=is_random))

    def forward(self, look_back: Float[Tensor, "row seq_len channel"], **prompt_inputs: Tensor) -> Forecast:
        """Forecast from windows and their `prompt_inputs` or `cached_features`."""
        statistics = InstanceStatistics.of(look_back)
        tokens = self.encode_time(statistics.normalise(look_back))
        text = None if self.reader is None else self.encode_text(self.text_states(len(look_back), prompt_inputs))
        tokens = memory = self.align(tokens, text)
        for layer in self.decoder:
            tokens = layer(tokens, memory)
        values = self.head(tokens).to(statistics.mean.dtype).transpose(1, 2)
        return Forecast(statistics.denormalise(values))

    def encode_time(self, rows: Float[Tensor, "row seq_len channel"]) -> Float[Tensor, "row channel d_model"]:
        """Tokens of the time branch from normalised windows, one per channel."""
        tokens = self.embedding(rows.transpose(1, 2))
        for layer in self.time_encoder:
            tokens = layer(tokens)
        return tokens

    def text_states(self, num_rows: int, inputs: dict[str, Tensor]) -> Float[Tensor, "row channel width"]:
        """The language model's state of each channel's prompt, from `prompt_inputs` or `cached_features`."""
        assert self.reader is not None
        if self.config.text_branch == "constant":
            return self._constant_state().expand(num_rows, self.spec.num_channels, -1)
        kept = inputs.get("prompt_states")
        states = self.reader(inputs["prompt_ids"], inputs["prompt_lengths"]) if kept is None else kept
        states = states.to(self.embedding.weight.dtype)
        return states.roll(max(1, num_rows // 2), dims=0) if self.config.text_branch == "shuffled" else states

    def encode_text(self, states: Float[Tensor, "row channel width"]) -> Float[Tensor, "row channel width"]:
        """Tokens of the text branch, one per channel."""
        assert self.prompt_encoder is not None
        for layer in self.prompt_encoder:
            states = layer(states)
        return states

    def align(
        self, tokens: Float[Tensor, "row channel d_model"], text: Float[Tensor, "row channel width"] | None
    ) -> Float[Tensor, "row channel d_model"]:
        """The time branch's features with what they retrieve of the text's, or of themselves without text."""
        time = tokens.transpose(1, 2)
        return self.retrieval(time, time if text is None else text.transpose(1, 2)).transpose(1, 2)

    def prompt_inputs(
        self,
        look_back: Float[Tensor, "row seq_len channel"],  # noqa: ARG002
        original: Tensor | None = None,
        times: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Token ids of the prompt of each channel; ValueError if one is too long for the LLM."""
        if self.writer is None:
            return {}
        assert original is not None and times is not None
        ids, lengths = self.writer.tokens(original, times)
        self._check_positions(ids.shape[1], "has")
        return {"prompt_ids": ids, "prompt_lengths": lengths}

    @property
    def features_are_constant(self) -> bool:
        """Whether text states can be cached: always, as nothing of the text branch before them is trained."""
        return self.writer is not None

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """The text states of each channel, in `--text_state_dtype`."""
        assert self.reader is not None
        states = self.reader(prompt_inputs["prompt_ids"], prompt_inputs["prompt_lengths"])
        return {"prompt_states": states.to(DTYPES[self.config.text_state_dtype])}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """One group with decoupled weight decay."""
        (group,) = super().parameter_groups(learning_rate)
        return [{**group, "weight_decay": self.config.weight_decay, "decoupled_weight_decay": True}]

    @property
    def max_gradient_norm(self) -> float | None:
        """Norm to which the gradient of a step is scaled down."""
        return self.config.max_norm or None

    @property
    def random_llm_is_a_control(self) -> bool:
        """With `--text_branch random_llm`; tables show that flag."""
        return self.config.text_branch == "random_llm"

    def fingerprint(self) -> dict[str, Any]:
        """Name, number of blocks and hashes of the LLM."""
        return {} if self.backbone is None else dict(self.backbone.fingerprint)

    def _encoder(self, width: int) -> nn.ModuleList:
        config = self.config
        layer = (width, config.n_heads, config.feed_forward, config.dropout)
        return nn.ModuleList(
            nn.TransformerEncoderLayer(*layer, batch_first=True, norm_first=True) for _ in range(config.e_layers)
        )

    def _writer(self, backbone: Backbone) -> ValuePromptWriter:
        config, spec = self.config, self.spec
        most = spec.seq_len if config.published_prompt else min(spec.seq_len, PROMPT_LEN)
        num_values = config.prompt_len or most
        if num_values > spec.seq_len:
            raise ValueError(f"--prompt_len must be at most --seq_len {spec.seq_len}, got {num_values}")
        step, time_of_day = published_step(spec.data) if config.published_prompt else step_in_words(spec.time_step)
        scales = spec.channel_scales or (1.0,) * spec.num_channels
        decimals = decimals_of(scales, config.prompt_digits)
        writer = ValuePromptWriter(
            backbone.tokenizer, num_values, step, time_of_day, decimals, published=config.published_prompt
        )
        self._check_positions(writer.shortest_length, "needs at least", writer)
        return writer

    def _check_positions(self, num_tokens: int, verb: str, writer: ValuePromptWriter | None = None) -> None:
        writer, backbone = writer or self.writer, self.backbone
        assert writer is not None and backbone is not None
        if num_tokens > backbone.num_positions:
            raise ValueError(
                f"a prompt of {writer.num_values} values {verb} {num_tokens:,} tokens, but --llm_model {backbone.name} "
                f"has {backbone.num_positions:,} positions: give --prompt_len {PROMPT_LEN} (the last values of the "
                f"look-back), or --seq_len {PROMPT_LEN} as published"
            )

    @torch.no_grad()
    def _constant_state(self) -> Float[Tensor, "1 1 width"]:
        """The state of one text that says nothing of the values."""
        assert self.reader is not None and self.backbone is not None
        device = self.embedding.weight.device
        ids = torch.tensor(token_ids(self.backbone.tokenizer, [CONSTANT_TEXT]), device=device)
        state = self.reader(ids[:, :, None], torch.tensor([[ids.shape[1]]], device=device))
        return state.to(self.embedding.weight.dtype)


def _checked_width(config: TimeCMAConfig, backbone: Backbone) -> int:
    if backbone.width % config.n_heads:
        raise ValueError(f"--n_heads must divide the LLM's width {backbone.width}, got {config.n_heads}")
    return backbone.width
