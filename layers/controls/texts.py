"""Control experiments: text encoders that show what the language model contributes.

Those that read no language model at all are in `vectors.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from layers.llm.families import position_embeddings
from layers.prompt import TYPICAL, tokenise
from layers.text_encoder import TextEncoder, TextFeatures


class ShuffledTextEncoder(TextEncoder):
    """Control: each row gets the text of the row half a batch away."""

    def forward(self, inputs: dict[str, Tensor]) -> TextFeatures:
        features = super().forward(inputs)
        return features.rolled(max(1, len(features.mean) // 2))


class AttentionTextEncoder(TextEncoder):
    """Control: one trainable causal attention layer over the LLM's frozen embeddings instead of its blocks.

    It reads the LLM's position embeddings if they are learnt; with rotary ones only causality tells the order.
    """

    def add_network(self) -> None:
        self.word_embedding = self.backbone.model.get_input_embeddings()
        self.position_embedding = next(position_embeddings(self.backbone.model), None)
        width = self.backbone.width
        self.packed = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    @property
    def features_are_constant(self) -> bool:
        """False: the attention layer is trained."""
        return False

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        """Causal self-attention with residual and layer norm; padding at the end of a row is not seen."""
        tokens = self.word_embedding(ids)
        if self.learnable_prompt is not None:
            tokens = torch.cat([self.learnable_prompt.expand(len(ids), -1, -1), tokens], dim=1)
            lengths = lengths + len(self.learnable_prompt)
        positions = self.backbone.position_table()
        if positions is not None:
            tokens = tokens + positions[: tokens.shape[1]]
        num_heads = self.backbone.num_heads
        query, key, value = self.packed(tokens).unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.tail(self.norm(tokens + self.output(read.transpose(1, 2).flatten(2))), lengths)


class WordsTextEncoder(TextEncoder):
    """Control: no transformer; a position's state is the mean of the word embeddings up to it.

    The last state is the mean over the whole text.
    """

    def add_network(self) -> None:
        self.word_embedding = self.backbone.model.get_input_embeddings()

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        """Running means of the embeddings; padding at the end of a row is not seen."""
        tokens = self.word_embedding(ids).float()
        if self.learnable_prompt is not None:
            tokens = torch.cat([self.learnable_prompt.expand(len(ids), -1, -1), tokens], dim=1)
            lengths = lengths + len(self.learnable_prompt)
        counts = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return self.tail(tokens.cumsum(dim=1) / counts[:, None], lengths)


class ConstantTextEncoder(TextEncoder):
    """Control: the language model reads the same prompt for every row."""

    def prompt_inputs(self, rows: Float[Tensor, "row time"]) -> dict[str, Tensor]:
        """Token ids of the one prompt, for each row."""
        ids, lengths = tokenise(self.writer.tokenizer, [TYPICAL])
        self.check_positions(ids.shape[1])
        return {"prompt_ids": ids.expand(len(rows), -1), "prompt_lengths": lengths.expand(len(rows))}

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        """The states of the first row, for every row."""
        return super().last_states(ids[:1], lengths[:1]).expand(len(ids), -1, -1)
