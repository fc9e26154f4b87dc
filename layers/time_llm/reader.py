"""The frozen language model of Time-LLM: reads a row's prompt, then its reprogrammed patches (section 3.2)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from transformers import DynamicCache

from layers.backbones import Backbone
from layers.time_llm.prompt import TaskPromptWriter
from layers.time_llm.row_prompts import KeysValues, read_rows, states_after

Padding = Literal["aligned", "published"]
# How many more tokens than a typical prompt the longest may have (numbers in full precision differ in length).
SPARE_TOKENS = 64


class PromptedReader(nn.Module):
    """Maps [prompt; patches] to the states of the patches, the last ones of each row.

    No token of a prompt depends on a trainable parameter, so a causal model reads prompts without a graph, the common
    beginning of all prompts once, and the keys and values of a row can be kept (`kept_prompt`) in `kept_dtype`.
    `padding`: "aligned" puts a row's patches directly behind its own last token; "published" pads prompts with
    end-of-text tokens to the longest of the batch and reads the padding as text. `dropout` turns on the language
    model's own dropout in training, as published.
    """

    def __init__(
        self,
        backbone: Backbone,
        writer: TaskPromptWriter,
        *,
        num_patches: int,
        padding: Padding = "aligned",
        dropout: bool = False,
        kept_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.backbone, self.writer, self.llm = backbone, writer, backbone.model
        self.num_patches = num_patches
        self.padding, self.dropout, self.kept_dtype = padding, dropout, kept_dtype
        self.common_ids = torch.tensor(writer.common_ids, dtype=torch.long, device="cpu")
        self._common: tuple[object, DynamicCache] | None = None
        self.check_positions(writer.typical_length)

    def prompt_inputs(self, rows: Float[Tensor, "row time"]) -> dict[str, Tensor]:
        """Token ids and number of tokens of each row's prompt; ValueError if one is too long for the model."""
        ids, lengths = self.writer.tokens(rows)
        self.check_positions(ids.shape[1])
        assert (ids[:, : len(self.common_ids)].long() == self.common_ids).all(), "prompts begin differently"
        return {"prompt_ids": ids, "prompt_lengths": lengths}

    def forward(self, patches: Float[Tensor, "row patch width"], inputs: dict[str, Tensor]) -> Tensor:
        """States of the patches, in their precision, from `prompt_inputs` or from `kept_prompt`."""
        tokens = patches.to(self.backbone.word_table().dtype)
        with torch.autocast(patches.device.type, enabled=False):
            if self.keeps_prompts:
                kept = inputs if "prompt_keys_values" in inputs else self.kept_prompt(inputs)
                return self._behind_kept(tokens, **kept).to(patches.dtype)
            states, ends = self.all_states(tokens, **inputs)
            return tail(states, ends, patches.shape[1]).to(patches.dtype)

    @property
    def keeps_prompts(self) -> bool:
        """Whether keys and values of a row's prompt are constant: a causal model, no padding read, no dropout.

        A sliding window counts padding too, so a row must fit into it.
        """
        window = getattr(self.llm.config, "sliding_window", None)
        fits = window is None or self.writer.typical_length + SPARE_TOKENS + self.num_patches <= window
        return self.backbone.is_causal and self.padding == "aligned" and not self.dropout and fits

    @torch.no_grad()
    def kept_prompt(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keys and values of each row's prompt behind the common beginning, and their number of positions."""
        common = self._common_prompt()
        lengths = inputs["prompt_lengths"].long() - len(self.common_ids)
        # As wide as they are, whichever rows are read together: another width would round differently.
        ids = inputs["prompt_ids"].long()[:, len(self.common_ids) :]
        rows = read_rows(self.backbone, self.backbone.embed(ids), common=common)
        return {"prompt_keys_values": rows.to(self._stored_dtype(rows.dtype)), "prompt_lengths": lengths}

    def all_states(
        self,
        patches: Float[Tensor, "row patch width"],
        prompt_ids: Integer[Tensor, "row token"],
        prompt_lengths: Integer[Tensor, "row"],
    ) -> tuple[Float[Tensor, "row position width"], Int[Tensor, "row"]]:
        """The plain path: states of prompt and patches in one pass, for any model, and the end of each row."""
        num_patches, lengths = patches.shape[1], prompt_lengths.long()
        ids = prompt_ids.long()[:, : int(lengths.max())]
        if self.padding == "published":
            behind = torch.arange(ids.shape[1], device=ids.device) >= lengths[:, None]
            ids = ids.masked_fill(behind, self.backbone.pad_id)
            lengths = torch.full_like(lengths, ids.shape[1])
        words = self.backbone.embed(ids)
        whole = torch.cat([words, torch.zeros_like(patches)], dim=1)
        places = lengths[:, None] + torch.arange(num_patches, device=ids.device)
        whole = whole.scatter(1, places[:, :, None].expand_as(patches), patches)
        self.llm.train(self._drops_out)
        try:
            return self.backbone.states(whole, lengths + num_patches), lengths + num_patches
        finally:
            self.llm.eval()

    def check_positions(self, num_tokens: int) -> None:
        """Check that prompt and patches fit the language model's positions (ValueError)."""
        if num_tokens + self.num_patches > self.backbone.num_positions:
            raise ValueError(
                f"--llm_model {self.backbone.name} has {self.backbone.num_positions} positions, but a row needs "
                f"{num_tokens} for its prompt and {self.num_patches} for its patches: raise --stride or lower --seq_len"
            )

    def train(self, mode: bool = True) -> Self:
        """As torch's, but the frozen language model stays in eval mode (no dropout)."""
        super().train(mode)
        self.llm.eval()
        return self

    @property
    def _drops_out(self) -> bool:
        return self.training and self.dropout

    def _behind_kept(self, patches: Tensor, prompt_keys_values: KeysValues, prompt_lengths: Tensor) -> Tensor:
        return states_after(
            self.backbone, patches, prompt_keys_values, prompt_lengths.long(), common=self._common_prompt()
        )

    @torch.no_grad()
    def _common_prompt(self) -> DynamicCache | None:
        """Keys and values of the common beginning, if any; read anew only when the model has moved or changed."""
        if len(self.common_ids) == 0:
            return None
        words = self.backbone.word_table()
        key = (words.device, words.dtype, *(parameter._version for parameter in self.llm.parameters()))
        if self._common is None or self._common[0] != key:
            _, cache = self.backbone.read_prefix(self.backbone.embed(self.common_ids.to(words.device)[None])[0])
            self._common = (key, cache)
        return self._common[1]

    def _stored_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return torch.bfloat16 if torch.bfloat16 in (dtype, self.kept_dtype) else dtype


def tail(
    states: Float[Tensor, "row position width"], ends: Int[Tensor, "row"], num: int
) -> Float[Tensor, "row {num} width"]:
    """The last `num` states before each row's end."""
    places = ends[:, None] - num + torch.arange(num, device=ends.device)
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[-1]))
