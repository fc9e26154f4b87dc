"""GPT4TS (One Fits All): patches through the first blocks of an LLM, of which only norms and positions train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from layers.backbones import Backbone
from layers.channels import channels_as_rows, rows_as_channels
from layers.heads import FlattenHead
from layers.instance_norm import InstanceStatistics
from layers.llm.families import norms, position_embeddings
from layers.llm.loading import LLMConfig, llm_width, load_backbone
from layers.patching import PatchConfig, cut_patches, num_patches
from models.base import Forecast, Forecaster, ForecastSpec


@dataclass(frozen=True)
class GPT4TSConfig(PatchConfig, LLMConfig):
    """Settings of GPT4TS; the defaults are the published ones."""

    flags_added_later: ClassVar[tuple[str, ...]] = ("backbone",)

    backbone: Literal["llm", "random_llm", "none"] = HfArg(
        default="llm",
        help="random_llm: the LLM's architecture with random weights (--llm_seed); none: no transformer between "
        "embedding and head, which are as wide as the LLM (the control experiments)",
    )

    def __post_init__(self) -> None:
        PatchConfig.__post_init__(self)
        LLMConfig.__post_init__(self)


class GPT4TS(Forecaster):
    """Instance norm, linear patch embedding, the first six blocks of the LLM (published: GPT-2), and a flatten head.

    Zhou et al., "One Fits All: Power General Time Series Analysis by Pretrained LM" (NeurIPS 2023, arXiv 2302.11939),
    section 3: self-attention and feed-forward blocks stay frozen; norms and learnt position embeddings are trained (an
    LLM with rotary positions trains its norms alone), and the LLM's own dropout is active in training, as published.
    Published training: Adam at 1e-4, batches of 256 single channels (hence `channel_independent = True`), at most 10
    epochs. The token embedding matrix is unused and dropped. Without `backbone` the head reads the embedded patches.
    """

    Config = GPT4TSConfig
    may_leave_parameters_out = False
    channel_independent = True
    forecasts_quantiles = True
    renamed_parameters: ClassVar = {"gpt2.": "llm."}

    def __init__(self, config: GPT4TSConfig, spec: ForecastSpec, backbone: Backbone | None) -> None:
        super().__init__()
        self.config = config
        self.patch_len, self.stride, self.dtype = config.patch_len, config.stride, spec.dtype
        patches = num_patches(spec.seq_len, patch_len=config.patch_len, stride=config.stride)
        self.backbone = backbone
        if backbone is not None:
            self._take_llm(backbone, patches, seq_len=spec.seq_len)
        width = backbone.width if backbone is not None else llm_width(config)
        self.embedding = nn.Linear(config.patch_len, width)
        self.quantiles = spec.quantiles
        self.head = FlattenHead(patches, width, spec.num_outputs, dropout=0.0)

    @classmethod
    def build(cls, config: GPT4TSConfig, spec: ForecastSpec) -> Self:
        if config.backbone == "none":
            return cls(config, spec, None)
        is_random = config.backbone == "random_llm"
        return cls(config, spec, load_backbone(config, dtype=spec.dtype, reads_text=False, random_weights=is_random))

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        statistics = InstanceStatistics.of(look_back)
        rows = channels_as_rows(statistics.normalise(look_back))
        patches = cut_patches(rows, patch_len=self.patch_len, stride=self.stride)
        with torch.autocast(rows.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            states = self.embedding(patches)
            if self.backbone is not None:
                states = self.backbone.states(states)
            forecast = self.head(states).float()
        return self.forecast_of(statistics.denormalise(rows_as_channels(forecast, look_back.shape[2])))

    @property
    def random_llm_is_a_control(self) -> bool:
        """With `--backbone random_llm`; tables show that flag."""
        return self.config.backbone == "random_llm"

    def fingerprint(self) -> dict[str, Any]:
        return {} if self.backbone is None else self.backbone.fingerprint

    def _take_llm(self, backbone: Backbone, patches: int, *, seq_len: int) -> None:
        """Take the LLM's blocks; their norms and learnt positions train."""
        if patches > backbone.num_positions:
            raise ValueError(
                f"--seq_len {seq_len} gives {patches} patches but the LLM has {backbone.num_positions} "
                "positions: raise --stride"
            )
        self.llm = backbone.model
        self.llm.set_input_embeddings(nn.Identity())
        for module in (*norms(self.llm), *position_embeddings(self.llm)):
            module.float().requires_grad_(True)
