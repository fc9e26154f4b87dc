"""Text encoder: learnable prompt and prompt tokens through a frozen language model (BALM-TSF section 3.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from layers.alignment import token_deviation
from layers.backbones import Backbone
from layers.prompt import PromptWriter

if TYPE_CHECKING:
    from layers.llm.packed_gpt2 import PackedGPT2

Padding = Literal["aligned", "published"]


@dataclass(frozen=True)
class TextFeatures:
    """Text features of each row: text states for the head (first `d_ff` dimensions), mean and deviation over states."""

    head: Float[Tensor, "row state d_ff"]
    mean: Float[Tensor, "row d"]
    deviation: Float[Tensor, "row d"]

    @classmethod
    def of(cls, states: Float[Tensor, "row state d"], d_ff: int) -> Self:
        """Features of the text states; the head reads the first `d_ff` dimensions."""
        return cls(states[..., :d_ff], states.mean(dim=1), token_deviation(states))

    def rolled(self, shift: int) -> TextFeatures:
        """Features rolled over the batch: each row gets those of the row `shift` places before it."""
        return TextFeatures(*(getattr(self, part.name).roll(shift, dims=0) for part in fields(self)))


class TextEncoder(nn.Module):
    """Maps [learnable prompt; prompt tokens] to the last `num_states` hidden states of a frozen language model.

    `padding`: "aligned" reads every row up to its own last token; "published" pads rows to the longest of the batch and
    reads the padding as text. `dropout` turns on the language model's own dropout in training, as published. Cached
    features are stored in `feature_dtype`.
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
        self.packed_gpt2: PackedGPT2 | None = None
        self.add_network()
        self.learnable_prompt: nn.Parameter | None = None
        if learnable_prompt:
            self.learnable_prompt = nn.Parameter(torch.randn(num_states, backbone.width))

    def add_network(self) -> None:
        """Register the network that turns tokens into text states (here the frozen language model)."""
        self.llm = self.backbone.model

    def prompt_inputs(self, rows: Float[Tensor, "row time"]) -> dict[str, Tensor]:
        """Token ids and number of tokens of each row's prompt; ValueError if a prompt is too long for the LLM."""
        # Without a learnable prompt the text can have fewer tokens than `num_states` (H=720).
        min_tokens = 0 if self.learnable_prompt is not None else self.num_states
        ids, lengths = self.writer.tokens(rows, min_tokens=min_tokens)
        self.check_positions(ids.shape[1])
        return {"prompt_ids": ids, "prompt_lengths": lengths}

    def forward(self, inputs: dict[str, Tensor]) -> TextFeatures:
        """Text features from `prompt_inputs` or from `cached_features`."""
        if "text_head" in inputs:
            return TextFeatures(*(inputs[f"text_{part.name}"].float() for part in fields(TextFeatures)))
        return TextFeatures.of(self.states(**inputs), self.d_ff)

    @torch.no_grad()
    def cached_features(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features to cache and pass to `forward`, while `features_are_constant`."""
        features = TextFeatures.of(self.states(**inputs), self.d_ff)
        return {f"text_{part.name}": getattr(features, part.name).to(self.feature_dtype) for part in fields(features)}

    def identity(self) -> dict[str, Any]:
        """What `cached_features` depend on besides a text and the language model, as JSON values."""
        prompt = self.learnable_prompt
        return {
            # Shuffled texts are read as they are and exchanged later.
            "encoder": "TextEncoder" if type(self).last_states is TextEncoder.last_states else type(self).__name__,
            "num_states": self.num_states,
            "d_ff": self.d_ff,
            "stored_as": str(self.feature_dtype),
            "prompt": prompt if prompt is None else hashlib.sha256(prompt.detach().cpu().numpy().tobytes()).hexdigest(),
        }

    def train_prompt(self, trains: bool) -> None:
        """Train or freeze the learnable prompt."""
        if self.learnable_prompt is not None:
            self.learnable_prompt.requires_grad_(trains)

    @property
    def prompt_version(self) -> int:
        """Version of the learnable prompt: changes whenever it is updated or loaded."""
        return 0 if self.learnable_prompt is None else self.learnable_prompt._version

    @property
    def features_are_constant(self) -> bool:
        """Whether a row's features can be cached: no trainable prompt, no batch-dependent padding, no dropout."""
        trains = self.learnable_prompt is not None and self.learnable_prompt.requires_grad
        return not trains and self.padding == "aligned" and not self.dropout

    def states(
        self, prompt_ids: Integer[Tensor, "row width"], prompt_lengths: Integer[Tensor, "row"]
    ) -> Float[Tensor, "row state d"]:
        """Text states: the last `num_states` hidden states of each row, float32; gradient for the prompt only."""
        ids, lengths = self._padded(prompt_ids.long(), prompt_lengths.long())
        with torch.autocast(ids.device.type, enabled=False):
            return self.last_states(ids, lengths).float()

    def last_states(self, ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"]) -> Float[Tensor, "row state d"]:
        """Hidden states of each row's last `num_states` positions, which may include the learnable prompt's."""
        if self.packed_gpt2 is not None and self.learnable_prompt is not None and not self._drops_out:
            return self.packed_gpt2.last_states(self.learnable_prompt, ids, lengths, num_states=self.num_states)
        backbone, words = self.backbone, self.backbone.embed(ids)
        if self.learnable_prompt is None:
            return self.tail(backbone.states(words, lengths), lengths)
        prompt, ends = self.learnable_prompt.to(words.dtype), lengths + len(self.learnable_prompt)
        if backbone.is_causal and not self._drops_out:
            # The learnable prompt does not attend to the text: run it once and share its keys and values.
            prompt_states, keys_and_values = backbone.read_prefix(prompt)
            states = backbone.states(words, lengths, prefix=keys_and_values)
            return self.tail(torch.cat([prompt_states.expand(len(ids), -1, -1), states], dim=1), ends)
        rows = torch.cat([prompt.expand(len(ids), -1, -1), words], dim=1)
        backbone.model.train(self._drops_out)
        try:
            return self.tail(backbone.states(rows, ends), ends)
        finally:
            backbone.model.eval()

    def pack(self) -> None:
        """Read texts with `PackedGPT2` from now on: the same up to rounding, in fewer operations for a GPU."""
        from layers.llm.packed_gpt2 import PackedGPT2

        self.packed_gpt2 = PackedGPT2.of(self.backbone.model)

    def pack_if_possible(self) -> None:
        """`pack` unless the language model is no GPT-2 or does not read the texts, or no learnable prompt is shared."""
        from layers.llm.packed_gpt2 import PackedGPT2

        reads_texts = type(self).last_states is TextEncoder.last_states and self.learnable_prompt is not None
        if reads_texts and PackedGPT2.reads(self.backbone.model):
            self.pack()

    def compile_block(self, **how: Any) -> str | None:
        """Compile the packed block; what was compiled, None if texts are not packed."""
        if self.packed_gpt2 is None:
            return None
        self.packed_gpt2.compile_block(**how)
        return "the packed block of GPT-2"

    def train(self, mode: bool = True) -> Self:
        """As torch's, but the frozen language model stays in eval mode (no dropout)."""
        super().train(mode)
        self.backbone.model.eval()
        return self

    def check_positions(self, num_text_tokens: int) -> None:
        """Check that learnable prompt and text fit the language model's positions (ValueError)."""
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
        """Ids and ends of the rows; with published padding, all texts padded to the longest.

        Ids stay as wide as they are, whichever rows are read together: another width would round differently.
        """
        if self.padding == "aligned":
            return ids, lengths
        behind = torch.arange(ids.shape[1], device=ids.device) >= lengths[:, None]
        return ids.masked_fill(behind, self.backbone.pad_id), lengths.max().expand_as(lengths)

    def tail(self, states: Float[Tensor, "row position d"], ends: Int[Tensor, "row"]) -> Tensor:
        """The last `num_states` states before each row's end."""
        positions = ends[:, None] - self.num_states + torch.arange(self.num_states, device=ends.device)
        return states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[-1]))
