"""Statistics of a row for its prompt: extremes, median, trend and top lags (BALM-TSF section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layers.instance_norm import InstanceStatistics

NUM_LAGS = 5
# Autocorrelations that differ by less than this, relative to lag 0, count as tied.
TIE = 1e-9


@dataclass(frozen=True)
class RowStatistics:
    """Statistics per normalised row: minimum, maximum, lower median, upward trend, top lags in time steps."""

    minimum: Float[Tensor, "row"]
    maximum: Float[Tensor, "row"]
    median: Float[Tensor, "row"]
    upward: Bool[Tensor, "row"]
    lags: Int[Tensor, "row lag"]

    @classmethod
    def of(
        cls, rows: Float[Tensor, "row time"], *, all_lags: bool = False, float32: bool = False, even_lags: bool = False
    ) -> RowStatistics:
        """Statistics of `rows` after instance normalisation, as float32 values.

        Computed in float64, so that values and the order of lags do not depend on the rest of the batch. Published
        behaviour: `all_lags` also ranks lag 0 and the mirror T-k of every lag k; `float32` computes in float32, where
        rounding errors decide the order of the tied lags k and T-k and the trend of a flat row; `even_lags` (Time-LLM)
        computes one position fewer for an odd T, which moves all of them.
        """
        values = rows.float() if float32 else rows.double()
        normalised = InstanceStatistics.of(values[:, :, None]).normalise(values[:, :, None])[:, :, 0]
        rise = normalised.diff(dim=1).sum(dim=1) if float32 else values[:, -1] - values[:, 0]
        correlation = circular_autocorrelation(normalised, length=rows.shape[1] // 2 * 2 if even_lags else None)
        return cls(
            minimum=normalised.amin(dim=1).float(),
            maximum=normalised.amax(dim=1).float(),
            median=normalised.median(dim=1).values.float(),
            upward=rise > 0,
            lags=_rounding_order(correlation, all_lags) if float32 else _strongest_lags(correlation, all_lags),
        )


def circular_autocorrelation(rows: Float[Tensor, "row time"], *, length: int | None = None) -> Float[Tensor, "row lag"]:
    """Circular autocorrelation: sum over t of x[t] * x[(t + lag) mod time], for every lag.

    Another `length` than the row's takes the inverse transform at that many positions.
    """
    spectrum = torch.fft.rfft(rows)
    return torch.fft.irfft(spectrum * spectrum.conj(), n=length or rows.shape[1])


def _strongest_lags(correlation: Float[Tensor, "row time"], all_lags: bool) -> Int[Tensor, "row lag"]:
    """Lags by descending autocorrelation; ties go to the smaller lag."""
    first, last = (0, correlation.shape[1] - 1) if all_lags else (1, correlation.shape[1] // 2)
    energy = correlation[:, :1].clamp_min(torch.finfo(correlation.dtype).tiny)
    rounded = (correlation[:, first : last + 1] / energy / TIE).round()
    # Distinct integers below 2^53, so that the order does not depend on how topk breaks ties.
    num_lags = rounded.shape[1]
    order = rounded * num_lags - torch.arange(num_lags, device=rounded.device)
    return first + order.topk(NUM_LAGS, dim=1).indices


def _rounding_order(correlation: Float[Tensor, "row time"], all_lags: bool) -> Int[Tensor, "row lag"]:
    first, last = (0, correlation.shape[1] - 1) if all_lags else (1, correlation.shape[1] // 2)
    return first + correlation[:, first : last + 1].topk(NUM_LAGS, dim=1).indices
