"""Metrics: what is measured of the forecasts of a split.

To add one, write a class (usually a `MeanError` of three lines) and append it to `METRICS`: it is then measured in
validation and test and stands in history.jsonl, metrics.json, the closing table and the result tables, where its title
is its name in capitals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Evaluated:
    """A batch of forecasts beside their targets, in scaled units.

    `window` and `channel` are the numbers of each series in it; `quantiles` those of the forecast, if it has some.
    """

    forecast: Float[Tensor, "row pred_len channel"]
    target: Float[Tensor, "row pred_len channel"]
    window: Int[Tensor, "row channel"]
    channel: Int[Tensor, "row channel"]
    quantiles: Float[Tensor, "row pred_len channel level"] | None = None


class Metric(ABC):
    """One kind of measurement, updated batch by batch with forecasts and targets in scaled units.

    The result must depend neither on the order of the batches nor on the rank that saw them: `reduce` adds up every
    attribute that is a tensor over all ranks, so state is either a sum or filled on one rank and zero on the others.
    """

    @abstractmethod
    def update(self, batch: Evaluated) -> None:
        """Add a batch."""

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Combine the state of all ranks."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, sum_over_ranks(value))

    def values(self) -> dict[str, float]:
        """Measure -> its value over the whole split; smaller is better."""
        return {}

    def window_values(self) -> dict[str, Float[Tensor, "window"]]:
        """Measure -> its value in each window, in order of time, for paired tests of two models."""
        return {}

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:  # noqa: ARG002
        """Entries for the test in metrics.json; `scale` is each channel's standard deviation in original units."""
        return dict(self.values())


class MetricSet(Metric):
    """Several metrics of one split, used as one."""

    def __init__(self, metrics: Iterable[Metric]):
        self.metrics = list(metrics)

    def update(self, batch: Evaluated) -> None:
        for metric in self.metrics:
            metric.update(batch)

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        for metric in self.metrics:
            metric.reduce(sum_over_ranks)

    def values(self) -> dict[str, float]:
        return {name: value for metric in self.metrics for name, value in metric.values().items()}

    def window_values(self) -> dict[str, Float[Tensor, "window"]]:
        return {name: value for metric in self.metrics for name, value in metric.window_values().items()}

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:
        """The entries of all metrics, nested ones (`per_channel`) joined; `measures` names the values in order."""
        joined: dict[str, Any] = {"measures": list(self.values())}
        for metric in self.metrics:
            for key, value in metric.summary(columns=columns, scale=scale).items():
                joined[key] = {**joined.get(key, {}), **value} if isinstance(value, dict) else value
        return joined


class MeanOverValues(Metric):
    """Mean over all values of an error of each, as a sum and a count (never a mean of batch means).

    Sums are in float64, per channel and step and per window; `update` adds to them by `add`.
    """

    name: ClassVar[str]
    # An error in original units is the error in scaled units times the channel's scale to this power.
    scale_power: ClassVar[int] = 1

    def __init__(self, *, num_windows: int, num_channels: int, pred_len: int, device: torch.device | str = "cpu"):
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.sums, self.count = zeros(num_channels, pred_len), zeros(num_channels)
        self.window_sums, self.window_count = zeros(num_windows), zeros(num_windows)

    def add(self, errors: Float[Tensor, "row pred_len channel"], batch: Evaluated) -> None:
        """Add the errors of a batch."""
        errors = errors.transpose(1, 2).flatten(0, 1)
        windows, channels = batch.window.flatten(), batch.channel.flatten()
        ones = torch.ones_like(channels, dtype=torch.float64)
        self.sums.index_add_(0, channels, errors)
        self.count.index_add_(0, channels, ones)
        self.window_sums.index_add_(0, windows, errors.mean(1))
        self.window_count.index_add_(0, windows, ones)

    @property
    def num_rows(self) -> int:
        """Number of series (one channel of one window) that were measured."""
        return int(self.count.sum().item())

    def values(self) -> dict[str, float]:
        return {self.name: self._mean(self.sums)}

    def window_values(self) -> dict[str, Float[Tensor, "window"]]:
        return {self.name: (self.window_sums / self.window_count.clamp(min=1)).float().cpu()}

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:
        """The mean in scaled and original units, over everything, per channel and per step.

        Raises FloatingPointError if the forecasts of a channel are not finite.
        """
        broken = [name for name, total in zip(columns, self.sums.sum(1).tolist(), strict=True) if not isfinite(total)]
        if broken:
            raise FloatingPointError(
                f"the forecasts of {', '.join(broken[:8])} are not finite numbers, so they have no errors: lower "
                "--learning_rate or try --precision fp32"
            )
        factor = torch.as_tensor(scale, dtype=torch.float64, device=self.sums.device).unsqueeze(1)
        units = {self.name: self.sums, f"{self.name}_original": self.sums * factor**self.scale_power}
        values_per_channel = (self.count * self.sums.shape[1]).clamp(min=1)
        values_per_step = self.count.sum().clamp(min=1)
        return {
            **{name: self._mean(sums) for name, sums in units.items()},
            "num_windows": int((self.window_count > 0).sum().item()),
            "num_rows": self.num_rows,
            "per_channel": {
                "columns": list(columns),
                **{name: (sums.sum(1) / values_per_channel).tolist() for name, sums in units.items()},
            },
            "per_step": {name: (sums.sum(0) / values_per_step).tolist() for name, sums in units.items()},
        }

    def _mean(self, sums: Float[Tensor, "channel pred_len"]) -> float:
        return (sums.sum() / (self.count.sum() * sums.shape[1])).item()


class MeanError(MeanOverValues):
    """Mean over all values of an error of forecast and target."""

    @staticmethod
    @abstractmethod
    def error(forecast: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The error of each value."""

    def update(self, batch: Evaluated) -> None:
        self.add(self.error(batch.forecast.double(), batch.target.double()), batch)


class MSE(MeanError):
    """Mean squared error."""

    name = "mse"
    scale_power = 2

    @staticmethod
    def error(forecast: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (forecast - target).square()


class MAE(MeanError):
    """Mean absolute error."""

    name = "mae"

    @staticmethod
    def error(forecast: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (forecast - target).abs()


# Each is called with num_windows, num_channels, pred_len and device. The order is that of the tables.
METRICS: list[Callable[..., Metric]] = [MSE, MAE]
