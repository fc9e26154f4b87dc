"""Quantile forecasts: their levels, the pinball loss, and what is measured of them."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from utils.metrics import Evaluated, MeanOverValues, Metric

PINBALL = "pinball"
MEDIAN = 0.5


def parse_quantiles(text: str) -> tuple[float, ...]:
    """The levels of `--quantiles`, in order. Raises ValueError unless they lie between 0 and 1 and 0.5 is one."""
    try:
        levels = tuple(sorted(float(part) for part in text.split(",")))
    except ValueError as error:
        raise ValueError(f"--quantiles needs numbers such as 0.1,0.5,0.9, got {text}") from error
    if not all(0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
        raise ValueError(f"--quantiles must lie between 0 and 1, each once, got {text}")
    if MEDIAN not in levels or len(levels) == 1:
        raise ValueError(f"--quantiles needs 0.5, which is the forecast itself, and at least one other, got {text}")
    return levels


def interval_levels(levels: Sequence[float]) -> dict[float, tuple[int, int]]:
    """Level of each central interval that the quantiles bound -> the places of its lower and upper end, widest last."""
    places = {round(level, 9): place for place, level in enumerate(levels)}
    lower = [(level, place) for level, place in places.items() if level < MEDIAN and round(1 - level, 9) in places]
    return {round(1 - 2 * level, 9): (place, places[round(1 - level, 9)]) for level, place in reversed(lower)}


def pinball(
    quantiles: Float[Tensor, "*shape level"], target: Float[Tensor, "*shape"], levels: Sequence[float]
) -> Float[Tensor, "*shape"]:
    """Mean over the levels of the pinball loss max(q e, (q - 1) e) of e = target - quantile (Koenker, Bassett 1978)."""
    error = target.unsqueeze(-1) - quantiles
    level = _numbers_on(tuple(levels), error.dtype, error.device)
    return torch.maximum(level * error, (level - 1) * error).mean(-1)


@functools.lru_cache(maxsize=64)
def _numbers_on(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "level"]:
    """A tensor of `values`, made once a device: a copy in every step would make the host wait for a GPU."""
    numbers = torch.tensor(values, dtype=dtype)
    return numbers if device.type == "cpu" else numbers.pin_memory().to(device, non_blocking=True)


def crps(
    quantiles: Float[Tensor, "*shape level"], target: Float[Tensor, "*shape"], levels: Sequence[float]
) -> Float[Tensor, "*shape"]:
    """Continuous ranked probability score of the distribution in which each quantile has the mass nearest to its level.

    Exact for that distribution, and so an approximation for the forecast, better with more levels: an integral of twice
    the pinball loss over all levels (Gneiting, Raftery 2007). For a forecast of one value it is the absolute error.
    """
    edges = [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]
    mass, middle = ([part(low, high) for low, high in pairwise(edges)] for part in (_width, _middle))
    error = target.unsqueeze(-1) - quantiles
    weight, level = (_numbers_on(tuple(values), error.dtype, error.device) for values in (mass, middle))
    return (2 * weight * torch.maximum(level * error, (level - 1) * error)).sum(-1)


class QuantileError(MeanOverValues):
    """Mean over all values of an error of their quantiles; a forecast without quantiles stands for each of them."""

    def __init__(self, levels: Sequence[float], **sizes: Any):
        super().__init__(**sizes)
        self.levels = tuple(levels)

    def update(self, batch: Evaluated) -> None:
        self.add(self.error(quantiles_of(batch, len(self.levels)).double(), batch.target.double()), batch)

    @abstractmethod
    def error(
        self, quantiles: Float[Tensor, "row pred_len channel level"], target: Float[Tensor, "row pred_len channel"]
    ) -> Float[Tensor, "row pred_len channel"]:
        """The error of each value."""


class Pinball(QuantileError):
    """Mean pinball loss over the levels."""

    name = PINBALL

    def error(self, quantiles: Tensor, target: Tensor) -> Tensor:
        return pinball(quantiles, target, self.levels)


class CRPS(QuantileError):
    """Continuous ranked probability score (see `crps`)."""

    name = "crps"

    def error(self, quantiles: Tensor, target: Tensor) -> Tensor:
        return crps(quantiles, target, self.levels)


class BelowQuantile(Metric):
    """The share of targets at or below each quantile, which should be its level."""

    def __init__(
        self,
        levels: Sequence[float],
        *,
        num_windows: int,  # noqa: ARG002
        num_channels: int,
        pred_len: int,
        device: torch.device | str = "cpu",
    ):
        self.levels, self.pred_len = tuple(levels), pred_len
        self.below = torch.zeros(num_channels, len(self.levels), dtype=torch.float64, device=device)
        self.count = torch.zeros(num_channels, dtype=torch.float64, device=device)

    def update(self, batch: Evaluated) -> None:
        quantiles = quantiles_of(batch, len(self.levels))
        inside = (batch.target.unsqueeze(-1) <= quantiles).double().sum(1).flatten(0, 1)
        channels = batch.channel.flatten()
        self.below.index_add_(0, channels, inside)
        self.count.index_add_(0, channels, torch.full_like(inside[:, 0], self.pred_len))

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:  # noqa: ARG002
        """`below_quantile`: level ("0.9") -> share, over everything and per channel."""
        names = [f"{level:g}" for level in self.levels]
        total = (self.below.sum(0) / self.count.sum()).tolist()
        per_channel = (self.below / self.count.clamp(min=1).unsqueeze(1)).T.tolist()
        shares = dict(zip(names, total, strict=True))
        return {"below_quantile": {**shares, "per_channel": dict(zip(names, per_channel, strict=True))}}


# Each is called with the levels, and then as those of `utils.metrics.METRICS`.
QUANTILE_METRICS = (Pinball, CRPS, BelowQuantile)


def quantiles_of(batch: Evaluated, num_levels: int) -> Float[Tensor, "row pred_len channel {num_levels}"]:
    """The quantiles of the batch's forecasts; those of one that is certain of its one value are all the same."""
    forecast = batch.forecast
    return forecast.unsqueeze(-1).expand(*forecast.shape, num_levels) if batch.quantiles is None else batch.quantiles


def _width(low: float, high: float) -> float:
    return high - low


def _middle(low: float, high: float) -> float:
    return (low + high) / 2
