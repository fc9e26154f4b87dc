"""Strongest periods of a series, and which rows of a batch have which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Below half a unit in the last place of float32, adding an image with this weight changes nothing but rounding.
SMALLEST_WEIGHT = 6e-8


@dataclass(frozen=True)
class Spectrum:
    """The strongest frequencies, in cycles per series, with their mean amplitudes over the features (with gradient)."""

    frequencies: Int[Tensor, "row strongest"]
    amplitudes: Float[Tensor, "row strongest"]

    @classmethod
    def of(cls, series: Float[Tensor, "row time d_model"], num_strongest: int, *, of_batch: bool) -> Self:
        """The `num_strongest` frequencies of each row, or with `of_batch` those of the mean over all rows.

        Frequency 0, the level of a series, is never chosen.
        """
        values = series if series.dtype == torch.float64 else series.float()
        amplitudes = torch.fft.rfft(values, dim=1).abs().mean(dim=2)
        compared = amplitudes.detach()[:, 1:]
        compared = compared.mean(dim=0, keepdim=True).expand_as(compared) if of_batch else compared
        frequencies = compared.topk(num_strongest, dim=1).indices + 1
        return cls(frequencies, amplitudes.gather(1, frequencies))


@dataclass(frozen=True)
class Folds:
    """Which rows are folded by which periods: parallel lists by period, and the rows of all of them in one tensor."""

    periods: list[int]
    num_rows: list[int]
    rows: Int[Tensor, "fold"]
    period_of_fold: Int[Tensor, "fold"]

    @classmethod
    def of(cls, periods: Int[Tensor, "row strongest"], weights: Float[Tensor, "row strongest"], least: float) -> Self:
        """Group the rows by period, an equal period of a row once, without those of a weight below `least`.

        Reading the periods makes a GPU wait, once.
        """
        read = torch.where(weights.detach() < least, 0, periods).tolist()
        rows_by_period: dict[int, list[int]] = defaultdict(list)
        for row, found in enumerate(read):
            for period in set(found) - {0}:
                rows_by_period[period].append(row)
        order = sorted(rows_by_period)
        num_rows = [len(rows_by_period[period]) for period in order]
        rows = [row for period in order for row in rows_by_period[period]]
        repeated = [period for period, count in zip(order, num_rows, strict=True) for _ in range(count)]
        both = torch.tensor([rows, repeated]).to(periods.device, non_blocking=True)
        return cls(order, num_rows, both[0], both[1])

    def weights(
        self, periods: Int[Tensor, "row strongest"], weights: Float[Tensor, "row strongest"]
    ) -> Float[Tensor, "fold"]:
        """Weight of each fold: the sum over the row's equal periods."""
        is_of_fold = periods[self.rows] == self.period_of_fold[:, None]
        return (weights[self.rows] * is_of_fold).sum(dim=1)


def fold(series: Float[Tensor, "row time d_model"], period: int) -> Float[Tensor, "row d_model cycle {period}"]:
    """The series as an image with one cycle a line, after padding its end with zeros to whole cycles."""
    num_cycles = -(-series.shape[1] // period)
    padded = torch.nn.functional.pad(series, (0, 0, 0, num_cycles * period - series.shape[1]))
    return padded.unflatten(1, (num_cycles, period)).permute(0, 3, 1, 2)


def unfold(
    image: Float[Tensor, "row d_model cycle period"], num_steps: int
) -> Float[Tensor, "row {num_steps} d_model"]:
    """Inverse of `fold` for a series of `num_steps`."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)[:, :num_steps]
