"""Test errors as sums over elements: the same for every batch size, batch order and number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


class ErrorSums:
    """Squared and absolute errors in scaled units, summed in float64 per channel and step and per window.

    Every mean is a sum of errors over a number of elements (never a mean of batch means), so no window weighs more
    than another. Original units follow from the scaler exactly: an error of a channel times that channel's scale.
    """

    def __init__(self, *, num_windows: int, num_channels: int, pred_len: int, device: torch.device | str = "cpu"):
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.squared = zeros(num_channels, pred_len)
        self.absolute = zeros(num_channels, pred_len)
        self.count = zeros(num_channels)
        self.window_squared = zeros(num_windows)
        self.window_absolute = zeros(num_windows)
        self.window_count = zeros(num_windows)

    def update(
        self,
        forecast: Float[Tensor, "row pred_len channel"],
        target: Float[Tensor, "row pred_len channel"],
        *,
        window: Int[Tensor, "row channel"],
        channel: Int[Tensor, "row channel"],
    ) -> None:
        """Adds the errors of a batch; `window` and `channel` number each series of it."""
        error = (forecast.double() - target.double()).transpose(1, 2).flatten(0, 1)
        squared, absolute = error.square(), error.abs()
        windows, channels = window.flatten(), channel.flatten()
        ones = torch.ones_like(channels, dtype=torch.float64)
        self.squared.index_add_(0, channels, squared)
        self.absolute.index_add_(0, channels, absolute)
        self.count.index_add_(0, channels, ones)
        self.window_squared.index_add_(0, windows, squared.mean(1))
        self.window_absolute.index_add_(0, windows, absolute.mean(1))
        self.window_count.index_add_(0, windows, ones)

    def reduce(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Replaces every sum by the sum over all processes."""
        for name, value in vars(self).items():
            setattr(self, name, sum_over_processes(value))

    @property
    def num_rows(self) -> int:
        """Series (one channel of one window) that were counted."""
        return int(self.count.sum().item())

    @property
    def num_windows(self) -> int:
        """Windows of which at least one series was counted."""
        return int((self.window_count > 0).sum().item())

    @property
    def mse(self) -> float:
        """Mean squared error in scaled units over every element."""
        return self._mean(self.squared)

    @property
    def mae(self) -> float:
        """Mean absolute error in scaled units over every element."""
        return self._mean(self.absolute)

    def window_errors(self) -> dict[str, Tensor]:
        """MSE and MAE [num_windows] in scaled units, windows in order of time."""
        counted = self.window_count.clamp(min=1)
        return {
            "mse": (self.window_squared / counted).float().cpu(),
            "mae": (self.window_absolute / counted).float().cpu(),
        }

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:
        """The `test` entry of metrics.json; `scale` is each channel's standard deviation in original units.

        A FloatingPointError names the channels whose forecasts are no finite numbers.
        """
        broken = [
            name for name, total in zip(columns, self.squared.sum(1).tolist(), strict=True) if not isfinite(total)
        ]
        if broken:
            raise FloatingPointError(
                f"the forecasts of {', '.join(broken[:8])} are no finite numbers, so they have no errors: lower "
                "--learning_rate or try --precision fp32"
            )
        factor = torch.as_tensor(scale, dtype=torch.float64, device=self.squared.device).unsqueeze(1)
        original_squared, original_absolute = self.squared * factor.square(), self.absolute * factor
        per_channel = (self.count * self.squared.shape[1]).clamp(min=1)

        def by_channel(sums: Tensor) -> list[float]:
            return (sums.sum(1) / per_channel).tolist()

        def by_step(sums: Tensor) -> list[float]:
            return (sums.sum(0) / self.count.sum().clamp(min=1)).tolist()

        return {
            "mse": self.mse,
            "mae": self.mae,
            "mse_original": self._mean(original_squared),
            "mae_original": self._mean(original_absolute),
            "num_windows": self.num_windows,
            "num_rows": self.num_rows,
            "per_channel": {
                "columns": list(columns),
                "mse": by_channel(self.squared),
                "mae": by_channel(self.absolute),
                "mse_original": by_channel(original_squared),
                "mae_original": by_channel(original_absolute),
            },
            "per_step": {
                "mse": by_step(self.squared),
                "mae": by_step(self.absolute),
                "mae_original": by_step(original_absolute),
            },
        }

    def _mean(self, sums: Tensor) -> float:
        elements = self.count.sum() * sums.shape[1]
        return (sums.sum() / elements).item()
