"""One trainable attention layer in the LLM's place: a control that shows what the LLM's blocks add."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model


class TextAttention(nn.Module):
    """Causal self-attention, residual and layer norm over the frozen word and position embeddings of `gpt2`."""

    def __init__(self, gpt2: GPT2Model) -> None:
        super().__init__()
        d = gpt2.config.n_embd
        self.num_heads = gpt2.config.n_head
        self.word_embedding, self.position_embedding = gpt2.wte, gpt2.wpe
        self.packed = nn.Linear(d, 3 * d)
        self.output = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)

    def forward(
        self,
        prefix: Float[Tensor, "num_prefix d"] | None,
        ids: Int[Tensor, "row width"],
        lengths: Int[Tensor, "row"],
        num_states: int,
    ) -> Float[Tensor, "row {num_states} d"]:
        """The last `num_states` states on [prefix; a row's first `lengths` tokens]; what stands behind is not seen."""
        tokens = self.word_embedding(ids)
        if prefix is not None:
            tokens = torch.cat([prefix.expand(len(ids), -1, -1), tokens], dim=1)
            lengths = lengths + len(prefix)
        tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        query, key, value = self.packed(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = self.norm(tokens + self.output(read.transpose(1, 2).flatten(2)))
        tail = lengths[:, None] - num_states + torch.arange(num_states, device=lengths.device)
        return states.gather(1, tail[:, :, None].expand(-1, -1, states.shape[-1]))
