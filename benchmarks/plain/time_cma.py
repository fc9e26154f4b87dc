"""Plain implementation of TimeCMA as published: every prompt alone through the language model, for the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from benchmarks.plain.balm import use_published_gelu
from layers.time_cma.text import LastTokenReader
from models.base import ForecastSpec
from models.time_cma import TimeCMA, TimeCMAConfig

if TYPE_CHECKING:
    from benchmarks.cases import CaseConfig


class OneByOneReader(LastTokenReader):
    """Reads one prompt after the other, as the published code stores them."""

    @torch.no_grad()
    def forward(
        self, ids: Integer[Tensor, "row token channel"], lengths: Integer[Tensor, "row channel"]
    ) -> Float[Tensor, "row channel width"]:
        texts, ends = ids.transpose(1, 2).flatten(0, 1).long(), lengths.flatten().long()
        alone = [self._last_states(text[None], end[None]) for text, end in zip(texts, ends, strict=True)]
        return torch.cat(alone).unflatten(0, lengths.shape)


def build(config: CaseConfig, way: str, spec: ForecastSpec) -> TimeCMA:
    """TimeCMA of a way: "plain" reads its texts one by one with transformers' own GELU."""
    from benchmarks.cases import llm_settings

    model = TimeCMA.build(TimeCMAConfig(**llm_settings(config)), spec)
    if way == "plain":
        assert model.reader is not None and model.backbone is not None
        model.reader.__class__ = OneByOneReader
        use_published_gelu(model.backbone.model)
    return model
