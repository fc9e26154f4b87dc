"""BALM as published, written plainly: the yardstick of the speed-ups, and no straw man (see `PlainBALM`)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from models.balm import BALM


class PlainBALM(BALM):
    """BALM whose text branch is a whole forward of transformers' GPT-2 for every row.

    The learnable prompt is repeated in front of each row, rows are padded to the longest, all positions go through all
    blocks, and in training the LLM drops out if `llm_drops_out` (as published). Everything else is our own model, so
    the ratio is about the text branch and the prompts alone; prompts too are made by our vectorised code.
    """

    llm_drops_out = True

    def text_states(
        self, prompt_ids: Integer[Tensor, "row width"], prompt_lengths: Integer[Tensor, "row"]
    ) -> Float[Tensor, "row state d"]:
        assert self.llm is not None and self.learnable_prompt is not None
        longest = int(prompt_lengths.max())
        padding = torch.arange(longest, device=prompt_ids.device) >= prompt_lengths.long()[:, None]
        ids = prompt_ids[:, :longest].long().masked_fill(padding, self.llm.pad_id)
        prefix = self.learnable_prompt.to(self.gpt2.wte.weight.dtype).expand(len(ids), -1, -1)
        self.gpt2.train(self.training and self.llm_drops_out)
        states = self.gpt2(inputs_embeds=torch.cat([prefix, self.gpt2.wte(ids)], dim=1), use_cache=False)
        self.gpt2.eval()
        return states.last_hidden_state[:, -self.num_states :].float()
