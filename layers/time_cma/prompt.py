"""TimeCMA's prompt of one channel of a window: its dates, its values and its trend (arXiv 2406.01638, section 3.1)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, Integer
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor

from layers.llm.tokenizer import token_ids
from layers.prompt import tokenise

# Single tokens of the built-in tokenizer, so that its prompts have about as many tokens as GPT-2's.
PROMPT_WORDS = ("to", "the", "values", "were", "every", "hour", "minutes", "total", "trend", "value", "was")
NANOSECONDS_PER_MINUTE = 60 * 10**9
# Training deviation from which a channel's values are written as integers.
INTEGERS_FROM = 10
SIGNIFICANT_DIGITS = 3
# Values from here on are written with an exponent, so that a damaged row has a prompt of bounded length.
HUGE = 1e9
UNITS = {"min": "minute", "h": "hour", "D": "day", "B": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
# Words and time of day that the published code gives to the data sets that it knows, and to all others.
PUBLISHED_STEPS = {
    **dict.fromkeys(("ETTh1", "ETTh2", "ECL"), ("hour", " %H:00")),
    **dict.fromkeys(("ETTm1", "ETTm2"), ("15 minutes", " %H:%M")),
    "Weather": ("10 minutes", " %H:%M"),
    "ILI": ("week", ""),
    "FRED": ("month", ""),
}
PUBLISHED_OTHERWISE = ("month", " %H:%M")


@dataclass(frozen=True)
class ValuePromptWriter:
    """Makes the prompt of each channel of a window from its last `num_values` values in original units.

    `step` names the time step, `time_of_day` is what follows a date (strftime). `decimals` has one entry per channel.
    `published` cuts values to integers towards zero, and takes the trend as the sum of differences.
    """

    tokenizer: Tokenizer
    num_values: int
    step: str
    time_of_day: str
    decimals: tuple[int, ...] = ()
    published: bool = False

    def tokens(
        self, original: Float64[Tensor, "row time channel"], times: Int64[Tensor, "row time"]
    ) -> tuple[Integer[Tensor, "row token channel"], Integer[Tensor, "row channel"]]:
        """Token ids of the prompt of each channel of each row, zero-padded, and their number."""
        ids, lengths = tokenise(self.tokenizer, self.texts(original, times))
        num_rows, _, num_channels = original.shape
        by_channel = ids.numpy().reshape(num_rows, num_channels, -1).transpose(0, 2, 1)
        return torch.from_numpy(np.ascontiguousarray(by_channel)), lengths.reshape(num_rows, num_channels)

    def texts(self, original: Float64[Tensor, "row time channel"], times: Int64[Tensor, "row time"]) -> list[str]:
        """The prompts, the channel running fastest. `times` are nanoseconds since 1970."""
        values = original[:, -self.num_values :].transpose(1, 2).numpy()
        ends = times[:, -self.num_values :][:, [0, -1]].tolist()
        dates = [[self._date(time) for time in row] for row in ends]
        trends = self._trends(original[:, -self.num_values :].transpose(1, 2))
        return [
            f"From {first} to {last}, the values were {', '.join(self._numbers(row[channel], channel))} every "
            f"{self.step}. The total trend value was {trend[channel]}"
            for (first, last), row, trend in zip(dates, values, trends, strict=True)
            for channel in range(len(row))
        ]

    @property
    def shortest_length(self) -> int:
        """Number of tokens of a prompt whose values all have one digit: no prompt is shorter."""
        day = f"01/01/2016{' 00:00' if self.time_of_day else ''}"
        text = (
            f"From {day} to {day}, the values were {', '.join('1' * self.num_values)} every {self.step}. "
            "The total trend value was 0.000000"
        )
        return len(token_ids(self.tokenizer, [text])[0])

    def _date(self, time: int) -> str:
        moment = np.datetime64(time // NANOSECONDS_PER_MINUTE, "m").astype(object)
        return moment.strftime("%d/%m/%Y" + self.time_of_day)

    def _numbers(self, values: Float64[ndarray, "time"], channel: int) -> list[str]:
        if self.published:
            return [str(int(value)) for value in values.tolist()]
        decimals = self.decimals[channel]
        # Adding 0.0 turns -0.0 into 0.0: equal numbers must have equal text.
        rounded = (np.round(values, decimals) + 0.0).tolist()
        return [f"{value:.{decimals}f}" if abs(value) < HUGE else f"{value:.3g}" for value in rounded]

    def _trends(self, values: Float64[Tensor, "row channel time"]) -> list[list[str]]:
        if self.published:
            return [[f"{value:.6f}" for value in row] for row in values.diff(dim=2).sum(dim=2).tolist()]
        rise = (values[:, :, -1] - values[:, :, 0]).numpy()
        return [[f"{value:.6f}" for value in row] for row in (np.round(rise, 6) + 0.0).tolist()]


def step_in_words(time_step: str) -> tuple[str, str]:
    """How a prompt names a time step (a pandas offset), and the time of day behind a date (strftime)."""
    parts = re.fullmatch(r"(\d*)([A-Za-z]+).*", time_step)
    number, unit = (int(parts[1] or 1), parts[2]) if parts else (1, time_step)
    if unit == "D" and number % 7 == 0:
        number, unit = number // 7, "W"
    name = UNITS.get(unit) or UNITS.get(unit[:1]) or time_step
    words = name if number == 1 else f"{number} {name}s"
    return words, {"h": " %H:00", "min": " %H:%M"}.get(unit, " %H:%M" if unit in ("s", "ms") else "")


def published_step(data: str) -> tuple[str, str]:
    """The published code's names for the step of a data set: it takes every one that it does not know for monthly."""
    return PUBLISHED_STEPS.get(data, PUBLISHED_OTHERWISE)


def decimals_of(scales: tuple[float, ...], digits: int | None) -> tuple[int, ...]:
    """Decimals of each channel's values: `digits`, or by its training deviation in original units.

    From a deviation of 10 on values are integers; below, the deviation has three significant digits.
    """
    if digits is not None:
        return (digits,) * len(scales)
    return tuple(
        0 if scale >= INTEGERS_FROM else max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(scale)))
        for scale in scales
    )
