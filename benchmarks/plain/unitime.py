"""Plain implementation of UniTime as published: the reference for speed-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layers.instance_norm import InstanceStatistics
from layers.llm.loading import load_backbone
from layers.llm.tokenizer import token_ids
from layers.unitime.instructed_llm import InstructedLLM
from models.base import ForecastSpec
from models.unitime import UniTime, UniTimeConfig

if TYPE_CHECKING:
    from benchmarks.cases import CaseConfig


class PlainInstructedLLM(InstructedLLM):
    """Reads the instruction in front of every row, always, and trains the whole word table."""

    def _drops_out(self) -> bool:
        return True


class PlainUniTime(UniTime):
    """UniTime whose head computes all 96 + 720 outputs, as published, whatever is read of them."""

    def outputs(
        self, tokens: Float[Tensor, "row token width"], statistics: InstanceStatistics, num_before: int, num_after: int
    ) -> Float[Tensor, "row _ 1"]:
        outputs = self.head_dropout(self.head(tokens.transpose(1, 2).flatten(1)))
        values = statistics.denormalise(outputs.float()[:, :, None])
        return values[:, self.backcast_len - num_before : self.backcast_len + num_after]


def build(config: CaseConfig, way: str, spec: ForecastSpec) -> UniTime:
    """UniTime of a way, with the published sizes of the head: "plain" as published, or ours."""
    from benchmarks.cases import llm_settings

    settings = UniTimeConfig(
        **llm_settings(config),
        max_backcast_len=max(96, spec.seq_len),
        max_forecast_len=max(720, spec.pred_len),
        compat_official=way == "plain",
    )
    backbone = load_backbone(settings)
    table, ids = backbone.word_table().detach().clone(), token_ids(backbone.tokenizer, [spec.instruction])
    model = (PlainUniTime if way == "plain" else UniTime)(settings, [spec], backbone, instructions=ids)
    if way == "plain":
        model.reader.__class__ = PlainInstructedLLM
        model.reader.words, model.reader.places_0 = nn.Parameter(table), torch.tensor(ids[0])
    return model
