"""Prompts: a row's statistics as text, and its token ids (BALM-TSF section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Integer
from tokenizers import Tokenizer
from torch import Tensor

from layers.llm.tokenizer import token_ids
from layers.statistics import RowStatistics

# The words of a prompt except the first ("min"): single tokens of the built-in tokenizer.
WORDS = (
    *("max", "value", "median", "the", "trend", "of", "input", "is"),
    *("upward", "downward", "top", "lags", "are"),
)
# A prompt of typical length in full precision.
TYPICAL = (
    "min value -1.5534523725509644, max value 2.1234567165374756, median value -0.12312345206737518, "
    "the trend of input is downward, top 5 lags are : [168, 144, 192, 120, 216], "
)


@dataclass(frozen=True)
class PromptWriter:
    """Makes a row's prompt and its token ids; numbers in full float32 precision or rounded to `digits` decimals.

    `all_lags` and `float32` reproduce the published statistics (see `RowStatistics.of`). `pad_id` fills a prompt that
    is too short.
    """

    tokenizer: Tokenizer
    digits: int | None = None
    all_lags: bool = False
    float32: bool = False
    pad_id: int = 0

    def tokens(
        self, rows: Float[Tensor, "row time"], *, min_tokens: int = 0
    ) -> tuple[Integer[Tensor, "row width"], Integer[Tensor, "row"]]:
        """Token ids of each row's prompt, zero-padded, and their number (at least `min_tokens`)."""
        statistics = RowStatistics.of(rows, all_lags=self.all_lags, float32=self.float32)
        texts = prompt_texts(statistics, self.digits)
        return tokenise(self.tokenizer, texts, min_tokens=min_tokens, pad_id=self.pad_id)

    @property
    def typical_length(self) -> int:
        """Typical number of prompt tokens, to check before any data is read that prompts fit the model."""
        return len(token_ids(self.tokenizer, [TYPICAL])[0])


def prompt_texts(statistics: RowStatistics, digits: int | None = None) -> list[str]:
    """One prompt per row; numbers as Python prints a float, rounded to `digits` decimals if given."""
    columns = (statistics.minimum, statistics.maximum, statistics.median)
    minimum, maximum, median = (_rounded(column.tolist(), digits) for column in columns)
    trend = ["upward" if rises else "downward" for rises in statistics.upward.tolist()]
    return [
        f"min value {row[0]}, max value {row[1]}, median value {row[2]}, "
        f"the trend of input is {row[3]}, top 5 lags are : {row[4]}, "
        for row in zip(minimum, maximum, median, trend, statistics.lags.tolist(), strict=True)
    ]


def _rounded(values: list[float], digits: int | None) -> list[float]:
    # Adding 0.0 turns -0.0 into 0.0: equal numbers must have equal text.
    return values if digits is None else [round(value, digits) + 0.0 for value in values]


def tokenise(
    tokenizer: Tokenizer, texts: list[str], *, min_tokens: int = 0, pad_id: int = 0
) -> tuple[Integer[Tensor, "row width"], Integer[Tensor, "row"]]:
    """Token ids of each text, zero-padded on the right, in the smallest dtype that fits; and the numbers of tokens.

    A text shorter than `min_tokens` is padded on the left with `pad_id` (GPT-2: end-of-text, which precedes its
    documents too).
    """
    ids = [[pad_id] * (min_tokens - len(row)) + row for row in token_ids(tokenizer, texts)]
    lengths = np.fromiter(map(len, ids), dtype=np.int16, count=len(ids))
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.int32
    padded = np.zeros((len(ids), lengths.max(initial=0)), dtype=dtype)
    real = np.arange(padded.shape[1]) < lengths[:, None]
    padded[real] = np.fromiter(chain.from_iterable(ids), dtype=dtype, count=int(lengths.sum(dtype=np.int64)))
    return torch.from_numpy(padded), torch.from_numpy(lengths)
