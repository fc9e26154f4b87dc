"""CALF (arXiv 2403.07300): a temporal LLM tuned with LoRA, aligned to a textual LLM that reads principal words."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, cast

from jaxtyping import Float
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.hf_argparser import HfArg
from transformers.pytorch_utils import Conv1D

from layers.backbones import Backbone, all_states
from layers.cross_modal.branches import frozen_twin, linear_layers
from layers.cross_modal.feature_alignment import DISTANCES, feature_loss, mean_absolute_scaled_error
from layers.cross_modal.match import CrossModalMatch
from layers.instance_norm import InstanceStatistics
from layers.llm.families import norms, position_embeddings
from layers.llm.loading import LLMConfig, load_backbone
from layers.llm.user_cache import cache_directory
from layers.word_components import cached_word_embeddings
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class CALFConfig(LLMConfig):
    """Settings of CALF; the defaults are the published ones."""

    flags_added_later: ClassVar[tuple[str, ...]] = ("backbone", "full_fine_tuning", "match_module")

    lora: bool = HfArg(default=True, help="tune the temporal branch's attention with LoRA; --no_lora keeps it frozen")
    lora_rank: int = HfArg(default=8, help="rank of the LoRA matrices")
    lora_alpha: int = HfArg(default=32, help="LoRA scaling: the output is multiplied by lora_alpha / lora_rank")
    lora_dropout: float = HfArg(default=0.1, help="dropout rate on LoRA's input")
    textual_branch: Literal["llm", "none"] = HfArg(
        default="llm", help="`none` removes the textual branch and both alignment losses (the control experiment)"
    )
    num_components: int = HfArg(
        default=500, help="number of principal words (PCA of the token embeddings) for the textual branch"
    )
    feature_weight: float = HfArg(
        default=0.01, help="weight of the feature alignment loss; 0 removes the feature projections"
    )
    output_weight: float = HfArg(
        default=1.0, help="weight of the loss between both branches' forecasts; 0 turns it off"
    )
    feature_loss: Literal["l1", "smooth_l1"] = HfArg(default="l1", help="distance between features")
    output_loss: Literal["l1", "smooth_l1", "mase"] = HfArg(
        default="l1", help="distance between both branches' forecasts (`mase`: as published for M4)"
    )
    projection_learning_rate: float = HfArg(
        default=1e-4, help="constant learning rate of the feature projections and the match module's attentions"
    )
    backbone: Literal["llm", "random_llm"] = HfArg(
        default="llm",
        help="random_llm: both branches have random weights in the LLM's architecture, and the principal words are "
        "those of a random word table (--llm_seed; the control experiment)",
    )
    full_fine_tuning: bool = HfArg(
        default=False, help="train all weights of the temporal branch instead of LoRA (the control experiment)"
    )
    match_module: bool = HfArg(
        default=True,
        help="--no_match_module: a linear layer alone makes the tokens, which both branches read (no attention over "
        "channels, no principal words; the control experiment)",
    )
    compat_official: bool = HfArg(
        default=False, help="behave as the published code: the temporal branch's dropout stays active in evaluation"
    )

    def __post_init__(self) -> None:
        """Validate the config."""
        super().__post_init__()
        for name in ("lora_rank", "num_components"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"--lora_dropout must be at least 0 and below 1, got {self.lora_dropout}")
        for name in ("feature_weight", "output_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}")
        for name in ("lora_alpha", "projection_learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be above 0, got {getattr(self, name)}")

        if self.full_fine_tuning and not self.lora:
            raise ValueError("--full_fine_tuning trains what --no_lora keeps frozen: give one of them")

    @property
    def has_textual_branch(self) -> bool:
        """Whether the textual branch is built: only if a loss uses it."""
        return self.textual_branch == "llm" and (self.feature_weight > 0 or self.output_weight > 0)

    @property
    def reads_words(self) -> bool:
        """Whether the textual branch reads principal words."""
        return self.has_textual_branch and self.match_module

    @property
    def has_projections(self) -> bool:
        """Whether the feature projections are built: only if a loss uses them."""
        return self.has_textual_branch and self.feature_weight > 0


class CALF(Forecaster):
    """Multivariate forecaster: each channel's whole look-back is one token.

    `words` are the principal word embeddings, needed with a textual branch only. The LLM's large matrices are shared
    with `backbone`, not copied. `num_heads` (default: the LLM's), `feed_forward` and `dropout` are those of the match
    module.
    """

    Config: ClassVar[type] = CALFConfig
    default_loss: ClassVar[str] = "l1"
    may_leave_parameters_out = False

    words: Tensor

    def __init__(
        self,
        config: CALFConfig,
        spec: ForecastSpec,
        *,
        backbone: Backbone,
        words: Float[Tensor, "word width"] | None,
        num_heads: int | None = None,
        feed_forward: int = 2048,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.config, self.spec, self.backbone_fingerprint = config, spec, backbone.fingerprint
        self.width = backbone.width
        self.num_positions = backbone.num_positions
        self._check_channels(spec.num_channels)
        if config.output_loss == "mase" and spec.season_length >= spec.seq_len:
            raise ValueError(
                f"--output_loss mase needs a --seq_len above one season of {spec.season_length} steps, got "
                f"{spec.seq_len}: choose a longer one, or --output_loss smooth_l1"
            )
        if backbone.width != backbone.model.config.hidden_size:
            raise ValueError(
                f"CALF needs hidden states as wide as the words, but those of --llm_model {backbone.name} are "
                f"{backbone.model.config.hidden_size} and {backbone.width} wide: choose another LLM"
            )
        with_text = config.has_textual_branch
        self.match = CrossModalMatch(
            spec.seq_len,
            self.width,
            # Some LLMs have heads whose number does not divide their width.
            num_heads=num_heads or math.gcd(self.width, backbone.num_heads),
            feed_forward=feed_forward,
            dropout=dropout,
            with_text=config.reads_words,
            with_attention=config.match_module,
        )
        self.temporal = _temporal_branch(backbone, config)
        self.textual = _textual_branch(backbone) if with_text else None
        if config.reads_words:
            assert words is not None, "the textual branch needs principal words"
            self.register_buffer("words", words)
        for branch in (self.temporal, self.textual):
            for module in () if branch is None else linear_layers(branch):
                # LoRA's own stay in float32.
                if not module.weight.requires_grad:
                    module.to(spec.dtype)
        num_features = backbone.num_blocks + 1 if config.has_projections else 0
        self.temporal_projections = self._projections(num_features)
        self.textual_projections = self._projections(num_features)
        self.head = nn.Linear(self.width, spec.pred_len)

    @classmethod
    def build(cls, config: CALFConfig, spec: ForecastSpec) -> Self:
        """Build CALF: load its LLM, and compute the principal words or read them from the user's cache."""
        backbone = load_backbone(config, reads_text=False, random_weights=config.backbone == "random_llm")
        words = None
        if config.reads_words:
            words = cached_word_embeddings(
                backbone.word_table(),
                config.num_components,
                llm_sha256=backbone.fingerprint["sha256"],
                directory=cache_directory(),
            ).T.contiguous()
        return cls(config, spec, backbone=backbone, words=words)

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        """Forecast of the temporal branch; in training also the losses `output` and `feature` between the branches."""
        self._check_channels(look_back.shape[2])
        statistics = InstanceStatistics.of(look_back)
        time_tokens = self.match.time_tokens(statistics.normalise(look_back).transpose(1, 2))
        temporal = branch_features(self.temporal_llm, time_tokens)
        forecast = self.forecast(temporal[-1], statistics)
        if not self.training or self.textual is None:
            return Forecast(forecast)
        text_tokens = self.match.text_tokens(time_tokens, self.words) if self.config.reads_words else time_tokens
        textual = branch_features(self.textual, text_tokens)
        losses = {}
        if self.config.output_weight > 0:
            consistency = self._output_loss(forecast, self.forecast(textual[-1], statistics), look_back=look_back)
            losses["output"] = self.config.output_weight * consistency
        if self.config.has_projections:
            projected = self.project(temporal, textual)
            alignment = feature_loss(*projected, distance=DISTANCES[self.config.feature_loss])
            losses["feature"] = self.config.feature_weight * alignment
        return Forecast(forecast, losses)

    @property
    def temporal_llm(self) -> PreTrainedModel:
        """The temporal branch's LLM, with LoRA in its attention if used."""
        llm = self.temporal.get_base_model() if isinstance(self.temporal, PeftModel) else self.temporal
        assert isinstance(llm, PreTrainedModel)
        return llm

    def forecast(
        self, last_feature: Float[Tensor, "row channel width"], statistics: InstanceStatistics
    ) -> Float[Tensor, "row pred_len channel"]:
        """Forecast from a branch's last feature, in the units of the look-back."""
        return statistics.denormalise(self.head(last_feature).float().transpose(1, 2))

    def project(self, temporal: list[Tensor], textual: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Project both branches' features, each with its own projection."""
        return (
            [projection(feature) for projection, feature in zip(self.temporal_projections, temporal, strict=True)],
            [projection(feature) for projection, feature in zip(self.textual_projections, textual, strict=True)],
        )

    def train(self, mode: bool = True) -> Self:
        """As torch's; with `--compat_official` the temporal branch's dropout stays active in evaluation."""
        super().train(mode)
        if self.config.compat_official and not mode:
            self.temporal.train()
        return self

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Projections and match attentions (`_proj` in the published code) at a constant rate, the rest scheduled."""
        encoder = self.match.encoder
        attentions = [None if encoder is None else encoder.self_attn, self.match.cross_attention]
        projections = [*self.temporal_projections.parameters(), *self.textual_projections.parameters()]
        for attention in attentions:
            projections += [] if attention is None else list(attention.parameters())
        constant = {id(parameter) for parameter in projections}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in constant]
        return [
            {"params": others, "lr": learning_rate, "scheduled": True},
            {"params": projections, "lr": self.config.projection_learning_rate, "scheduled": False},
        ]

    def inference_parameters(self) -> int:
        """Parameters of the temporal branch, its input layers and the head."""
        read = [self.match.linear, self.match.encoder, self.temporal, self.head]
        return sum(p.numel() for module in read if module is not None for p in module.parameters())

    @property
    def random_llm_is_a_control(self) -> bool:
        """With `--backbone random_llm`; tables show that flag."""
        return self.config.backbone == "random_llm"

    def fingerprint(self) -> dict[str, Any]:
        """Name, number of blocks and hashes of the LLM."""
        return self.backbone_fingerprint

    def _output_loss(self, forecast: Tensor, textual_forecast: Tensor, *, look_back: Tensor) -> Tensor:
        if self.config.output_loss == "mase":
            return mean_absolute_scaled_error(
                forecast, textual_forecast, look_back=look_back, season_length=self.spec.season_length
            )
        return DISTANCES[self.config.output_loss](forecast, textual_forecast)

    def _projections(self, num_features: int) -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(self.width, self.width, bias=False) for _ in range(num_features))

    def _check_channels(self, num_channels: int) -> None:
        if num_channels > self.num_positions:
            raise ValueError(
                f"CALF reads each channel as one token and --llm_model has {self.num_positions} positions, but --data "
                f"has {num_channels} channels: choose fewer with --columns, or a channel-independent model such as BALM"
            )


def branch_features(llm: PreTrainedModel, tokens: Float[Tensor, "row channel width"]) -> list[Tensor]:
    """The LLM's hidden states for `tokens`, with a residual connection from the tokens to the last one."""
    features = all_states(llm, tokens)
    return [*features[:-1], features[-1] + tokens]


def _temporal_branch(backbone: Backbone, config: CALFConfig) -> nn.Module:
    """Copy of the LLM: frozen but for LoRA, norms and position embeddings, or trained in full."""
    branch: nn.Module = frozen_twin(backbone.model)
    if config.full_fine_tuning:
        # Its large matrices are those of the textual branch, which stays frozen.
        return copy.deepcopy(branch).float().requires_grad_(True)
    if config.lora:
        adapter = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=list(backbone.family.lora),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in branch.modules()),
        )
        with warnings.catch_warnings():
            # peft uses a deprecated name of transformers.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            branch = get_peft_model(cast(PreTrainedModel, branch), adapter)
    for module in (*norms(branch), *position_embeddings(branch)):
        module.requires_grad_(True)
    return branch


def _textual_branch(backbone: Backbone) -> PreTrainedModel:
    """Frozen copy of the LLM with trainable position embeddings, if it has any."""
    branch = frozen_twin(backbone.model)
    for module in position_embeddings(branch):
        module.requires_grad_(True)
    return branch
