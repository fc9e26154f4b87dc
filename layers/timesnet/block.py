"""TimesBlock: a series folded by each of its strongest periods, convolved as images, and added up."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from layers.timesnet.inception import Inception
from layers.timesnet.periods import SMALLEST_WEIGHT, Folds, Spectrum, fold, unfold


class TimesBlock(nn.Module):
    """x + sum_i softmax_i(amplitude_i) * unfold(Inception(GELU(Inception(fold(x, period_i))))) (TimesNet, section 3.2).

    `period_i` are the lengths of the `top_k` strongest cycles of each row, so that a row's output does not depend on
    the others; with `of_batch` they are those of the batch's mean spectrum, as published. Gradients flow through the
    amplitudes but not through the choice of periods. `least_weight`: images that count less than this are left out.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        *,
        top_k: int,
        num_kernels: int,
        of_batch: bool,
        least_weight: float = SMALLEST_WEIGHT,
    ) -> None:
        super().__init__()
        self.top_k, self.of_batch, self.least_weight = top_k, of_batch, least_weight
        self.widen = Inception(d_model, d_ff, num_kernels)
        self.narrow = Inception(d_ff, d_model, num_kernels)

    def forward(self, series: Float[Tensor, "row time d_model"]) -> Float[Tensor, "row time d_model"]:
        num_steps = series.shape[1]
        spectrum = Spectrum.of(series, self.top_k, of_batch=self.of_batch)
        periods, weights = num_steps // spectrum.frequencies, spectrum.amplitudes.softmax(dim=1)
        folds = Folds.of(periods, weights, self.least_weight)
        widen, narrow = self.widen.kernel(), self.narrow.kernel()
        parts = series.index_select(0, folds.rows).split(folds.num_rows)
        convolved = torch.cat(
            [
                unfold(narrow(F.gelu(widen(fold(part, period)))), num_steps)
                for part, period in zip(parts, folds.periods, strict=True)
            ]
        )
        weighted = convolved * folds.weights(periods, weights)[:, None, None]
        return series.index_add(0, folds.rows, weighted.to(series.dtype))
