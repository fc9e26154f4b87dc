"""UniTime: one language model for many data sets, told of a row's by a sentence (arXiv 2310.09751)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone
from layers.encoder import check_dropout
from layers.instance_norm import InstanceStatistics
from layers.llm.loading import LLMConfig, load_backbone
from layers.llm.tokenizer import token_ids
from layers.patching import PatchConfig
from layers.unitime.embedding import MaskedPatchEmbedding
from layers.unitime.instructed_llm import InstructedLLM
from layers.unitime.masking import count_patches, cut_padded_patches, draw_mask, masked_statistics
from models.base import Forecast, Forecaster, ForecastSpec

COSINE_FLOOR = 1e-6
# The published code's ways, turned on by --compat_official.
PUBLISHED: dict[str, Any] = {"pad_tokens": True, "uncovered_values": True}


@dataclass(frozen=True)
class UniTimeConfig(PatchConfig, LLMConfig):
    """Settings of UniTime; the defaults are the published ones."""

    stride: int = HfArg(default=16, help="stride between patches, in time steps")
    mask_rate: float = HfArg(default=0.5, help="share of the input values that are dropped in training")
    tuning: Literal["full", "fpt", "freeze"] = HfArg(
        default="full", help="what of the LLM is trained: all, its norms and position embeddings, or nothing"
    )
    llm_weights: Literal["pretrained", "random"] = HfArg(
        default="pretrained", help="random: the LLM's architecture with random weights (--llm_seed), a control"
    )
    instruction: bool = HfArg(
        default=True, help="put the data set's sentence in front of each row; --no_instruction leaves it out"
    )
    instruction_text: str | None = HfArg(default=None, help="another sentence than the data set's own")
    decoder_layers: int = HfArg(default=2, help="number of Transformer layers behind the LLM")
    dropout: float = HfArg(default=0.3, help="dropout rate of the embedded patches")
    decoder_dropout: float = HfArg(default=0.1, help="dropout rate in the decoder and of the head's output")
    max_gradient_norm: float = HfArg(default=5.0, help="longer gradients are shortened to this norm")
    max_backcast_len: int = HfArg(
        default=0, help="time steps of the look-back that the head can reconstruct; 0: the longest look-back"
    )
    max_forecast_len: int = HfArg(default=0, help="time steps that the head can forecast; 0: the longest horizon")
    max_token_num: int = HfArg(default=0, help="tokens that the head reads; 0: as many as the data need")
    pad_tokens: bool = HfArg(
        default=False,
        help="published: a learnt token fills up to --max_token_num and is read by the decoder; default: the decoder "
        "sees a row's own tokens only",
    )
    uncovered_values: bool = HfArg(
        default=False,
        help="published: values at the end of the look-back may be in no patch (seq_len 96, stride 8, patch_len 12)",
    )
    compat_official: bool = HfArg(default=False, help=f"behave as the published code: overrides {', '.join(PUBLISHED)}")

    def __post_init__(self) -> None:
        """Validate the config."""
        PatchConfig.__post_init__(self)
        LLMConfig.__post_init__(self)
        if self.compat_official:
            for name, value in PUBLISHED.items():
                object.__setattr__(self, name, value)
        check_dropout(self.dropout)
        for name in ("mask_rate", "decoder_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.decoder_layers < 1:
            raise ValueError(f"--decoder_layers must be at least 1, got {self.decoder_layers}")
        if not self.max_gradient_norm > 0:
            raise ValueError(f"--max_gradient_norm must be above 0, got {self.max_gradient_norm}")
        for name in ("max_backcast_len", "max_forecast_len", "max_token_num"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}")
        if self.instruction_text is not None and not self.instruction:
            raise ValueError("--instruction_text has no effect with --no_instruction: drop one of them")


class UniTime(Forecaster):
    """Masked patches behind an instruction through a language model, a small decoder, and one head for all horizons.

    Liu et al., "UniTime: A Language-Empowered Unified Model for Cross-Domain Time Series Forecasting" (WWW 2024, arXiv
    2310.09751). `tasks` are the data sets it is trained on, of which each has its look-back, horizon and sentence; with
    one, the sentence is a constant of the run and cannot tell the model anything about a row. `instructions` are the
    token ids of the sentences. A row is one channel.

    In training a share `mask_rate` of the values is dropped, and the loss is the mean squared error over look-back
    (undropped) and horizon together: the forecast's weighs pred_len / (seq_len + pred_len), the backcast's the rest.
    """

    Config = UniTimeConfig
    channel_independent = True

    def __init__(
        self,
        config: UniTimeConfig,
        tasks: Sequence[ForecastSpec],
        backbone: Backbone,
        *,
        instructions: Sequence[Sequence[int]],
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.tasks = config, list(tasks)
        self.strides = list(strides or [config.stride] * len(tasks))
        patches = [self._num_patches(task, stride) for task, stride in zip(tasks, self.strides, strict=True)]
        needed = max(len(ids) + count for ids, count in zip(instructions, patches, strict=True))
        self._check_fit(needed, backbone)
        self.num_tokens = config.max_token_num or needed
        self.backcast_len = config.max_backcast_len or max(task.seq_len for task in tasks)
        forecast_len = config.max_forecast_len or max(task.pred_len for task in tasks)
        width = backbone.width
        self.embedding = MaskedPatchEmbedding(config.patch_len, width, config.dropout, reads_mask=config.mask_rate > 0)
        self.reader = InstructedLLM(backbone, instructions, config.tuning)
        self.pad_token = nn.Parameter(torch.randn(width)) if config.pad_tokens else None
        layer = nn.TransformerEncoderLayer(
            width, backbone.num_heads, 4 * width, config.decoder_dropout, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerEncoder(layer, config.decoder_layers, enable_nested_tensor=False)
        self.head = nn.Linear(width * self.num_tokens, self.backcast_len + forecast_len)
        self.head_dropout = nn.Dropout(config.decoder_dropout)

    @classmethod
    def build(cls, config: UniTimeConfig, spec: ForecastSpec) -> Self:
        """Build the model for one data set and load its LLM; ValueError or FileNotFoundError if that fails."""
        return cls.build_joint(config, [spec])

    @classmethod
    def build_joint(
        cls, config: UniTimeConfig, tasks: Sequence[ForecastSpec], strides: Sequence[int] | None = None
    ) -> Self:
        """Build one model for several data sets."""
        dtype = torch.float32 if config.tuning == "full" else tasks[0].dtype
        backbone = load_backbone(config, dtype=dtype, random_weights=config.llm_weights == "random")
        texts = [task.instruction if config.instruction_text is None else config.instruction_text for task in tasks]
        instructions = token_ids(backbone.tokenizer, texts) if config.instruction else [[] for _ in tasks]
        return cls(config, tasks, backbone, instructions=instructions, strides=strides)

    def forward(
        self,
        look_back: Float[Tensor, "row seq_len 1"],
        task: Int[Tensor, ""] | None = None,
        horizon: Int[Tensor, ""] | None = None,
    ) -> Forecast:
        """Forecast rows of one of the `tasks` (by number, default the first) up to its horizon or another one."""
        number = 0 if task is None else int(task)
        pred_len = self.tasks[number].pred_len if horizon is None else int(horizon)
        rows, seq_len = look_back[:, :, 0], look_back.shape[1]
        mask = draw_mask(rows, self.config.mask_rate) if self.training and self.config.mask_rate else None
        statistics = InstanceStatistics.of(look_back) if mask is None else masked_statistics(rows, mask)
        tokens = self.decode(self.reader(self.tokens(rows, mask, statistics, number), number))
        if not self.training:
            return Forecast(self.outputs(tokens, statistics, 0, pred_len))
        both = self.outputs(tokens, statistics, seq_len, pred_len)
        share = seq_len / (seq_len + pred_len)
        backcast = share * F.mse_loss(both[:, :seq_len], look_back)
        return Forecast(both[:, seq_len:], {"backcast": backcast}, criterion_weight=1 - share)

    def tokens(
        self,
        rows: Float[Tensor, "row seq_len"],
        mask: Float[Tensor, "row seq_len"] | None,
        statistics: InstanceStatistics,
        task: int = 0,
    ) -> Float[Tensor, "row patch width"]:
        """Embedded patches of rows with dropped values (`mask` None: with all values)."""
        normalised = statistics.normalise(rows[:, :, None])[:, :, 0]
        if mask is None:
            return self.embedding(self.patches(normalised, task), rows.new_ones(1, 1, self.config.patch_len))
        return self.embedding(self.patches(normalised * mask, task), self.patches(mask, task))

    def patches(self, rows: Float[Tensor, "row seq_len"], task: int = 0) -> Float[Tensor, "row patch patch_len"]:
        """Patches of rows."""
        return cut_padded_patches(
            rows,
            patch_len=self.config.patch_len,
            stride=self.strides[task],
            covers_all=not self.config.uncovered_values,
        )

    def decode(self, states: Float[Tensor, "row token width"]) -> Float[Tensor, "row tokens width"]:
        """What the head reads: the decoder's output, filled up with zeros."""
        decoded = self.decoder(self.decoder_input(states))
        return F.pad(decoded, (0, 0, 0, self.num_tokens - decoded.shape[1]))

    def decoder_input(self, states: Float[Tensor, "row token width"]) -> Float[Tensor, "row tokens width"]:
        """The LLM's states, with `--pad_tokens` filled up with the pad token."""
        if self.pad_token is None:
            return states
        missing = self.num_tokens - states.shape[1]
        return torch.cat([states, self.pad_token.to(states.dtype).expand(len(states), missing, -1)], dim=1)

    def outputs(
        self, tokens: Float[Tensor, "row token width"], statistics: InstanceStatistics, num_before: int, num_after: int
    ) -> Float[Tensor, "row _ 1"]:
        """The last `num_before` steps of the look-back and the first `num_after` of the horizon, in scaled units."""
        places = slice(self.backcast_len - num_before, self.backcast_len + num_after)
        flat = tokens.transpose(1, 2).flatten(1)
        outputs = self.head_dropout(F.linear(flat, self.head.weight[places], self.head.bias[places]))
        return statistics.denormalise(outputs.float()[:, :, None])

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """One group, whose cosine ends at the published 1e-6."""
        return [group | {"cosine_floor": COSINE_FLOOR} for group in super().parameter_groups(learning_rate)]

    @property
    def max_gradient_norm(self) -> float:
        return self.config.max_gradient_norm

    def fingerprint(self) -> dict[str, Any]:
        """Name, number of blocks and hashes of the LLM before it is trained."""
        return dict(self.reader.backbone.fingerprint)

    def _num_patches(self, task: ForecastSpec, stride: int) -> int:
        return count_patches(
            task.seq_len, patch_len=self.config.patch_len, stride=stride, covers_all=not self.config.uncovered_values
        )

    def _check_fit(self, needed: int, backbone: Backbone) -> None:
        config = self.config
        if needed > backbone.num_positions:
            raise ValueError(
                f"instruction and patches are {needed} tokens but the LLM has {backbone.num_positions} positions: "
                "raise --stride, or lower --seq_len"
            )
        longest = {
            "max_token_num": needed,
            "max_backcast_len": max(task.seq_len for task in self.tasks),
            "max_forecast_len": max(task.pred_len for task in self.tasks),
        }
        for name, least in longest.items():
            if 0 < getattr(config, name) < least:
                raise ValueError(f"--{name} must be 0 or at least {least} for these data, got {getattr(config, name)}")
