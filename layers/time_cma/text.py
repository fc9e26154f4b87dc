"""The last token's state of each prompt, from a frozen language model (TimeCMA, section 3.2)."""

from __future__ import annotations

from typing import Self

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from layers.backbones import Backbone

TOKENS_AT_ONCE = 2**14


class LastTokenReader(nn.Module):
    """Reads prompts to their last token, whose state has seen all others; the language model is frozen."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.llm = backbone, backbone.model

    @torch.no_grad()
    def forward(
        self, ids: Integer[Tensor, "row token channel"], lengths: Integer[Tensor, "row channel"]
    ) -> Float[Tensor, "row channel width"]:
        """The state behind each prompt, in the language model's precision; padding is not seen."""
        texts, ends = ids.transpose(1, 2).flatten(0, 1).long(), lengths.flatten().long()
        # Texts of about the same length together, so that little padding is computed.
        order = ends.argsort(descending=True)
        last = [self._last_states(texts[part], ends[part]) for part in order.split(self._texts_at_once(texts))]
        states = torch.cat(last)
        return states[order.argsort()].unflatten(0, lengths.shape)

    def _texts_at_once(self, texts: Tensor) -> int:
        return max(1, TOKENS_AT_ONCE // texts.shape[1])

    def _last_states(self, texts: Tensor, ends: Tensor) -> Tensor:
        with torch.autocast(texts.device.type, enabled=False):
            if texts.device.type == "cpu":  # `ends.max()` would synchronise with a GPU
                texts = texts[:, : int(ends.max())]
            states = self.backbone.states(self.backbone.embed(texts), ends)
            return states[torch.arange(len(ends), device=ends.device), ends - 1]

    def train(self, mode: bool = True) -> Self:
        """As torch's, but the frozen language model stays in eval mode (no dropout)."""
        super().train(mode)
        self.llm.eval()
        return self
