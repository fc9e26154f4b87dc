"""Text features of each row: learnable prompt and prompt tokens through a language model (BALM-TSF section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Self

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from layers.alignment import token_deviation
from layers.backbones import Backbone
from layers.prompt import PromptWriter

Padding = Literal["aligned", "published"]


@dataclass(frozen=True)
class TextFeatures:
    """What the rest of BALM reads of a row's text states: the head's dimensions, and mean and deviation over states."""

    head: Float[Tensor, "row state d_ff"]
    mean: Float[Tensor, "row d"]
    deviation: Float[Tensor, "row d"]

    @classmethod
    def of(cls, states: Float[Tensor, "row state d"], d_ff: int) -> Self:
        """Features of text states, of whose dimensions the head reads the first `d_ff`."""
        return cls(states[..., :d_ff], states.mean(dim=1), token_deviation(states))

    def rolled(self, shift: int) -> TextFeatures:
        """Each row with the features of the row `shift` places before it in the batch."""
        return TextFeatures(*(getattr(self, part.name).roll(shift, dims=0) for part in fields(self)))


class TextEncoder(nn.Module):
    """[learnable prompt; prompt tokens] -> the last `num_states` states of a frozen language model.

    `padding`: "aligned" ends every row at its own last token; "published" fills rows with padding tokens up to the
    longest of the batch and reads the padding as text. `dropout` turns the language model's own dropout on in training,
    as published. Features are kept in `feature_dtype` where they are cached.
    """

    def __init__(
        self,
        backbone: Backbone,
        writer: PromptWriter,
        *,
        num_states: int,
        d_ff: int,
        learnable_prompt: bool = True,
        padding: Padding = "aligned",
        dropout: bool = False,
        feature_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.backbone, self.writer = backbone, writer
        self.num_states, self.d_ff = num_states, d_ff
        self.padding, self.dropout, self.feature_dtype = padding, dropout, feature_dtype
        self.add_network()
        self.learnable_prompt: nn.Parameter | None = None
        if learnable_prompt:
            self.learnable_prompt = nn.Parameter(torch.randn(num_states, backbone.width))

    def add_network(self) -> None:
        """Registers what turns tokens into states (here the frozen language model)."""
        self.llm = self.backbone.model

    def prompt_inputs(self, rows: Float[Tensor, "row time"]) -> dict[str, Tensor]:
        """Token ids of each row's prompt and their number; ValueError when one exceeds the model's positions."""
        # Without a learnable prompt a text can be shorter than the states that are read of it (H=720).
        min_tokens = 0 if self.learnable_prompt is not None else self.num_states
        ids, lengths = self.writer.tokens(rows, min_tokens=min_tokens)
        self.check_positions(ids.shape[1])
        return {"prompt_ids": ids, "prompt_lengths": lengths}

    def forward(self, inputs: dict[str, Tensor]) -> TextFeatures:
        """Text features from `prompt_inputs`, or from `cached_features` in their place."""
        if "text_head" in inputs:
            return TextFeatures(*(inputs[f"text_{part.name}"].float() for part in fields(TextFeatures)))
        return TextFeatures.of(self.states(**inputs), self.d_ff)

    @torch.no_grad()
    def cached_features(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The features of rows whose text no longer changes, as `forward` takes them."""
        features = TextFeatures.of(self.states(**inputs), self.d_ff)
        return {f"text_{part.name}": getattr(features, part.name).to(self.feature_dtype) for part in fields(features)}

    def train_prompt(self, trains: bool) -> None:
        """Lets the learnable prompt train, or freezes it."""
        if self.learnable_prompt is not None:
            self.learnable_prompt.requires_grad_(trains)

    @property
    def prompt_version(self) -> int:
        """Changes whenever the learnable prompt is written to."""
        return 0 if self.learnable_prompt is None else self.learnable_prompt._version

    @property
    def features_are_constant(self) -> bool:
        """Whether a row's features depend on its prompt alone: nothing before them trains, no batch, no chance."""
        trains = self.learnable_prompt is not None and self.learnable_prompt.requires_grad
        return not trains and self.padding == "aligned" and not self.dropout

    def states(
        self, prompt_ids: Integer[Tensor, "row width"], prompt_lengths: Integer[Tensor, "row"]
    ) -> Float[Tensor, "row state d"]:
        """The last `num_states` states of each row, float32. Only the learnable prompt gets a gradient."""
        ids, lengths = self._padded(prompt_ids.long(), prompt_lengths.long())
        with torch.autocast(ids.device.type, enabled=False):
            return self.last_states(ids, lengths).float()

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        """The states of every row's last `num_states` positions, the learnable prompt's among them."""
        backbone, words = self.backbone, self.backbone.embed(ids)
        if self.learnable_prompt is None:
            return self.tail(backbone.states(words, lengths), lengths)
        prompt, ends = self.learnable_prompt.to(words.dtype), lengths + len(self.learnable_prompt)
        if backbone.is_causal and not self._drops_out:
            # The learnable prompt sees no text: it is read once, and all rows share its keys and values.
            prompt_states, keys_and_values = backbone.read_prefix(prompt)
            states = backbone.states(words, lengths, prefix=keys_and_values)
            return self.tail(torch.cat([prompt_states.expand(len(ids), -1, -1), states], dim=1), ends)
        rows = torch.cat([prompt.expand(len(ids), -1, -1), words], dim=1)
        backbone.model.train(self._drops_out)
        try:
            return self.tail(backbone.states(rows, ends), ends)
        finally:
            backbone.model.eval()

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen language model: dropout in it would make a row's text random."""
        super().train(mode)
        self.backbone.model.eval()
        return self

    def check_positions(self, num_text_tokens: int) -> None:
        """ValueError when learnable prompt and text do not fit the language model's positions."""
        prefix = 0 if self.learnable_prompt is None else len(self.learnable_prompt)
        if prefix + num_text_tokens > self.backbone.num_positions:
            raise ValueError(
                f"--llm_model {self.backbone.name} has {self.backbone.num_positions} positions, but a prompt needs "
                f"{prefix} learnable and {num_text_tokens} text tokens: lower --pred_len, or choose an LLM with more"
            )

    @property
    def _drops_out(self) -> bool:
        return self.training and self.dropout

    def _padded(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Ids no wider than the longest text; with published padding every text as long as that."""
        if self.padding == "aligned" and ids.device.type != "cpu":
            return ids, lengths  # asking for the longest would make the host wait for the device
        ids = ids[:, : int(lengths.max())]
        if self.padding == "aligned":
            return ids, lengths
        behind = torch.arange(ids.shape[1], device=ids.device) >= lengths[:, None]
        return ids.masked_fill(behind, self.backbone.pad_id), torch.full_like(lengths, ids.shape[1])

    def tail(self, states: Float[Tensor, "row position d"], ends: Int[Tensor, "row"]) -> Tensor:
        """The `num_states` states before each row's end."""
        positions = ends[:, None] - self.num_states + torch.arange(self.num_states, device=ends.device)
        return states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[-1]))
