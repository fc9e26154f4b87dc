"""Time-LLM's prompt of a row: the data set, the task and the row's statistics (arXiv 2310.01728, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from tokenizers import Tokenizer
from torch import Tensor

from layers.llm.tokenizer import token_ids
from layers.prompt import WORDS, prompt_texts, tokenise
from layers.statistics import NUM_LAGS, RowStatistics

# Single tokens of the built-in tokenizer, so that its prompts have about as many tokens as GPT-2's.
PROMPT_WORDS = (*WORDS, "description", "forecast", "next", "steps", "given", "previous", "information", "statistics")


@dataclass(frozen=True)
class TaskPromptWriter:
    """Makes a row's prompt: `description` of the data set, horizon and look-back, statistics of the normalised row.

    `digits`, `all_lags` and `float32` are those of BALM's prompts; with an odd look-back `all_lags` has only
    `seq_len - 1` positions, as published.
    """

    tokenizer: Tokenizer
    description: str
    seq_len: int
    pred_len: int
    digits: int | None = None
    all_lags: bool = False
    float32: bool = False

    def tokens(self, rows: Float[Tensor, "row time"]) -> tuple[Integer[Tensor, "row width"], Integer[Tensor, "row"]]:
        """Token ids of each row's prompt, zero-padded, and their number."""
        statistics = RowStatistics.of(rows, all_lags=self.all_lags, float32=self.float32, even_lags=self.all_lags)
        return tokenise(self.tokenizer, self.texts(statistics))

    def texts(self, statistics: RowStatistics) -> list[str]:
        """The prompt of each row. The marks in angle brackets are ordinary text for the tokenizer."""
        opening = (
            f"<|start_prompt|>Dataset description: {self.description}"
            f"Task description: forecast the next {self.pred_len} steps given the previous {self.seq_len} steps "
            "information; Input statistics: "
        )
        described = (text.removesuffix(", ") for text in prompt_texts(statistics, self.digits))
        return [f"{opening}{text}<|<end_prompt>|>" for text in described]

    @property
    def common_ids(self) -> list[int]:
        """The tokens with which every row's prompt begins, whatever its statistics are."""
        first, *others = token_ids(self.tokenizer, self.texts(_extremes()))
        for place, token in enumerate(first):
            if any(place >= len(other) or other[place] != token for other in others):
                return first[:place]
        return first

    @property
    def typical_length(self) -> int:
        """Typical number of tokens, to check before any data is read that prompts fit the model."""
        return max(map(len, token_ids(self.tokenizer, self.texts(_extremes()))))


def _extremes() -> RowStatistics:
    """Rows whose minima begin in every way in which a number can: a constant row's is 0.0, all others are negative."""
    with torch.device("cpu"):
        minimum = torch.tensor([0.0, -0.0, -1.5534523725509644, -2.25, -9.5, -1e-7])
        num_rows = len(minimum)
        return RowStatistics(
            minimum=minimum,
            maximum=torch.tensor([2.1234567165374756]).expand(num_rows),
            median=torch.tensor([-0.12312345206737518]).expand(num_rows),
            upward=torch.zeros(num_rows, dtype=torch.bool),
            lags=torch.tensor([168, 144, 192, 120, 216][:NUM_LAGS]).expand(num_rows, -1),
        )
