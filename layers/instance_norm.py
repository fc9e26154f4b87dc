"""Instance normalisation: per-row statistics that normalise and denormalise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class InstanceStatistics:
    """Mean and standard deviation over time, per row and channel; no gradient, float32 or float64."""

    mean: Float[Tensor, "row 1 channel"]
    deviation: Float[Tensor, "row 1 channel"]

    @classmethod
    def of(cls, look_back: Float[Tensor, "row time channel"], eps: float = 1e-5) -> Self:
        """Statistics of `look_back`; the deviation is sqrt(biased variance + eps).

        Where squares overflow (float32: values beyond 9e18), the deviation is computed from the values divided by their
        largest magnitude, with the same eps, so that such rows too are normalised to finite values.
        """
        values = look_back.detach()
        values = values if values.dtype == torch.float64 else values.float()
        mean = values.mean(dim=1, keepdim=True)
        deviation = torch.sqrt(values.var(dim=1, keepdim=True, unbiased=False) + eps)
        largest = values.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
        of_shares = torch.sqrt((values / largest).var(dim=1, keepdim=True, unbiased=False) + eps) * largest
        fits = (4 * largest.square()).isfinite()
        return cls(mean, torch.where(fits, deviation, of_shares))

    def normalise(self, look_back: Float[Tensor, "row time channel"]) -> Float[Tensor, "row time channel"]:
        """Scale to mean 0 and deviation 1 per row and channel."""
        return (look_back - self.mean) / self.deviation

    def denormalise(self, forecast: Float[Tensor, "row pred_len channel"]) -> Float[Tensor, "row pred_len channel"]:
        """Undo `normalise`: a forecast in the units of the look-back."""
        return forecast * self.deviation + self.mean
