"""Language model that reads an instruction and then the tokens of a row; all, a part, or none of it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layers.backbones import Backbone
from layers.llm.families import norms, position_embeddings

Tuning = Literal["full", "fpt", "freeze"]


class InstructedLLM(nn.Module):
    """The backbone with the word embeddings of its instructions (token ids), trained as `tuning` says.

    full: all of it; fpt: norms and learnt positions; freeze: nothing. Words that no instruction has are never read, so
    that they would get no gradient; only the others are kept, as `words`.
    """

    def __init__(self, backbone: Backbone, instructions: Sequence[Sequence[int]], tuning: Tuning) -> None:
        super().__init__()
        self.backbone, self.llm = backbone, backbone.model
        ids = sorted({token for instruction in instructions for token in instruction})
        self.words = nn.Parameter(backbone.word_table()[ids].detach().float().clone())
        for number, instruction in enumerate(instructions):
            places = torch.tensor([ids.index(token) for token in instruction], dtype=torch.int64)
            self.register_buffer(f"places_{number}", places, persistent=False)
        self.word_ids = ids
        self.llm.set_input_embeddings(nn.Identity())
        self._train(tuning)

    def forward(self, tokens: Float[Tensor, "row token width"], instruction: int) -> Float[Tensor, "row _ width"]:
        """Final states of the instruction of this number and of the tokens behind it.

        Where nothing random happens inside a causal model, the instruction, which all rows have in common and which
        sees nothing behind it, is read once for all of them.
        """
        words = self.instruction_words(instruction)
        if not len(words):
            return self.backbone.states(tokens)
        if self.backbone.is_causal and not self._drops_out():
            states, cache = self.backbone.read_prefix(words.to(tokens.dtype))
            own = self.backbone.states(tokens, prefix=cache)
            return torch.cat([states.to(own.dtype).expand(len(tokens), -1, -1), own], dim=1)
        return self.backbone.states(self.llm_input(tokens, words))

    def llm_input(
        self, tokens: Float[Tensor, "row token width"], words: Float[Tensor, "word width"]
    ) -> Float[Tensor, "row _ width"]:
        """The instruction's words in front of each row's tokens."""
        return torch.cat([words.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)

    def instruction_words(self, instruction: int) -> Float[Tensor, "word width"]:
        """Word embeddings of an instruction."""
        return self.words[self.get_buffer(f"places_{instruction}")]

    def _drops_out(self) -> bool:
        if not self.llm.training:
            return False
        rates = [module.p for module in self.llm.modules() if isinstance(module, nn.Dropout)]
        return any(rates) or bool(getattr(self.llm.config, "attention_dropout", 0))

    def _train(self, tuning: Tuning) -> None:
        self.words.requires_grad_(tuning == "full")
        if tuning == "full":
            self.llm.requires_grad_(True)
        elif tuning == "fpt":
            for module in (*norms(self.llm), *position_embeddings(self.llm)):
                module.float().requires_grad_(True)
