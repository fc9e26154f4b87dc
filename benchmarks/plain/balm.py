"""Plain implementation of BALM as published: the reference for speed-ups."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.activations import NewGELUActivation

from layers.backbones import Backbone
from layers.text_encoder import TextEncoder
from models.balm import BALM


class PlainTextEncoder(TextEncoder):
    """Text encoder that runs transformers' GPT-2 on every row with its own copy of the learnable prompt."""

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        assert self.learnable_prompt is not None
        words = self.backbone.embed(ids)
        rows = torch.cat([self.learnable_prompt.to(words.dtype).expand(len(ids), -1, -1), words], dim=1)
        model, ends = self.backbone.model, lengths + len(self.learnable_prompt)
        if model.training != self._drops_out:
            model.train(self._drops_out)
        return self.tail(self.backbone.states(rows, ends), ends)


class PlainBALM(BALM):
    """BALM with `PlainTextEncoder` and transformers' own GELU; with `llm_drops_out` dropout in the LLM, as published.

    Everything else, including the vectorised prompts, is our model, so ratios compare the text encoder and how often
    prompts are made.
    """

    @property
    def llm_drops_out(self) -> bool:
        """Whether the frozen LLM's dropout is active in training."""
        assert isinstance(self.text_encoder, TextEncoder)
        return self.text_encoder.dropout

    @llm_drops_out.setter
    def llm_drops_out(self, drops_out: bool) -> None:
        assert isinstance(self.text_encoder, TextEncoder)
        self.text_encoder.dropout = drops_out

    def _text_encoder(self, backbone: Backbone) -> TextEncoder:
        encoder = super()._text_encoder(backbone)
        encoder.__class__ = PlainTextEncoder
        use_published_gelu(backbone.model)
        return encoder


def use_published_gelu(model: nn.Module) -> None:
    """Restore transformers' unfused GELU, which `wrap_backbone` replaces by torch's fused one."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.GELU):
                setattr(module, name, NewGELUActivation())
