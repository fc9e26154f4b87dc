"""Plain implementation of CALF as published: the reference for speed-ups."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from benchmarks.plain.balm import use_published_gelu
from layers.cross_modal.feature_alignment import DISTANCES, feature_loss
from layers.instance_norm import InstanceStatistics
from models.base import Forecast
from models.calf import CALF


class PlainCALF(CALF):
    """CALF that projects the principal words again for every row and runs transformers' own GPT-2 forward.

    As in the published code, hidden states come from `output_hidden_states=True`, the tanh GELU is transformers'
    unfused one, and both branches and all projections are computed in evaluation too.
    """

    def use_published_modules(self) -> PlainCALF:
        """Restore transformers' GELU in both branches; returns the model."""
        for branch in (self.temporal_llm, self.textual):
            assert branch is not None
            use_published_gelu(branch)
        return self

    def forward(self, look_back: Float[Tensor, "row seq_len channel"]) -> Forecast:
        """As CALF, with both branches computed in evaluation too."""
        statistics = InstanceStatistics.of(look_back)
        time_tokens = self.match.time_tokens(statistics.normalise(look_back).transpose(1, 2))
        words = self.words.expand(len(look_back), -1, -1).transpose(0, 1)
        assert self.match.cross_attention is not None and self.textual is not None
        mixed, _ = self.match.cross_attention(time_tokens.transpose(0, 1), words, words)
        text_tokens = mixed.transpose(0, 1)
        temporal = self._features(self.temporal_llm, time_tokens)
        textual = self._features(self.textual, text_tokens)
        forecast = self.forecast(temporal[-1], statistics)
        output = F.l1_loss(forecast, self.forecast(textual[-1], statistics))
        alignment = feature_loss(*self.project(temporal, textual), distance=DISTANCES[self.config.feature_loss])
        losses = {"output": output, "feature": self.config.feature_weight * alignment}
        return Forecast(forecast, losses if self.training else {})

    def _features(self, gpt2, tokens: Tensor) -> list[Tensor]:
        states = gpt2(inputs_embeds=tokens, output_hidden_states=True, use_cache=False).hidden_states
        return [*states[:-1], states[-1] + tokens]
