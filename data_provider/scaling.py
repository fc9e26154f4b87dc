"""Standardization per channel: original units to z-scores and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

# Beyond them, float32 overflows in a model, and squared errors in original units in float64.
LARGEST_SCALED, LARGEST = 1e30, 1e100


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Mean and scale per channel in float64; `scaled = (original - mean) / scale`."""

    mean: Float[ndarray, "channel"]
    scale: Float[ndarray, "channel"]

    @classmethod
    def fit(cls, values: Float[ndarray, "time channel"]) -> Standardizer:
        """Mean and population standard deviation of each channel; a constant channel gets scale 1 and becomes 0."""
        # In C order, because the rounding of the mean depends on the memory layout.
        values = np.ascontiguousarray(values, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # see `first_unscalable`
            mean, scale = values.mean(axis=0), values.std(axis=0)
        is_constant = values.min(axis=0) == values.max(axis=0)
        return cls(np.where(is_constant, values[0], mean), np.where(is_constant | (scale == 0), 1.0, scale))

    def transform(self, values: Float[ndarray, "*rest channel"]) -> Float[ndarray, "*rest channel"]:
        """Original units to scaled units."""
        return (values - self.mean) / self.scale

    def first_unscalable(self, values: Float[ndarray, "time channel"]) -> tuple[int, int] | None:
        """Row and channel of the first value that is too large for a model, scaled or not, or has no scaled value."""
        with np.errstate(all="ignore"):
            wrong = ~((np.abs(self.transform(values)) <= LARGEST_SCALED) & (np.abs(values) <= LARGEST))
        if not wrong.any():
            return None
        row, channel = np.argwhere(wrong)[0]
        return int(row), int(channel)

    def inverse(self, values: Float[ndarray, "*rest channel"]) -> Float[ndarray, "*rest channel"]:
        """Scaled units to original units."""
        return values * self.scale + self.mean

    def to_dict(self) -> dict[str, list[float]]:
        """JSON values for `from_dict`."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Standardizer:
        """The inverse of `to_dict`."""
        return cls(np.asarray(values["mean"], dtype=np.float64), np.asarray(values["scale"], dtype=np.float64))
