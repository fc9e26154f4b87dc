"""Split-conformal prediction intervals: quantiles of absolute validation errors, per channel and horizon step.

The interval of level q around a forecast is its value plus and minus the k-th smallest of n validation errors of the
same channel and step, k = ceil((n + 1) q): for exchangeable errors the truth lies inside with a probability of at least
q (Vovk et al. 2005; Lei et al., JASA 2018, theorem 2.2). Errors of overlapping windows are not exchangeable, so the
coverage that a run reports for its test split is what tells how far the level can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

LEVELS = (*(percent / 100 for percent in range(50, 100)), 0.995, 0.999)
COARSE_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
REPORTED_LEVELS = (0.8, 0.9)
ERRORS_BUDGET_BYTES = 2**28
BOUNDS_BUDGET_BYTES = 2**25


def conformal_rank(num_errors: int, level: float) -> int | None:
    """Which of `num_errors` sorted errors (1 is the smallest) bounds the interval; None where they are too few."""
    # In binary, 0.55 * 100 is more than 55: the level is taken as it is written.
    rank = math.ceil((num_errors + 1) * Fraction(str(level)))
    return rank if rank <= num_errors else None


def kept_levels(num_channels: int, pred_len: int) -> tuple[float, ...]:
    """The levels that a run keeps: each percent from 0.5 on, or five of them for wide series with long horizons."""
    size = 4 * len(LEVELS) * num_channels * pred_len
    return LEVELS if size <= BOUNDS_BUDGET_BYTES else COARSE_LEVELS


@dataclass(frozen=True, eq=False)
class Intervals:
    """Half widths of the intervals in scaled units, infinite where there were too few errors for a level.

    `num_errors` counts the validation windows behind each channel's bounds (the smallest count over the channels).
    """

    levels: tuple[float, ...]
    bounds: Float[Tensor, "level channel pred_len"]
    num_errors: int

    def at(self, level: float) -> Float[Tensor, "channel pred_len"]:
        """The half widths of `level`; a ValueError says which levels there are."""
        if level not in self.levels:
            known = ", ".join(f"{known:g}" for known in self.levels)
            raise ValueError(f"--interval {level:g} is not a level that the run keeps: choose one of {known}")
        bounds = self.bounds[self.levels.index(level)]
        if torch.isinf(bounds).any():
            highest = max((known for known in self.levels if conformal_rank(self.num_errors, known)), default=None)
            way_out = "train with more validation rows" if highest is None else f"choose at most {highest:g}"
            raise ValueError(
                f"--interval {level:g} needs more validation windows than the {self.num_errors} of this run: {way_out}"
            )
        return bounds


class AbsoluteErrors:
    """Collects the absolute errors of validation windows, within a budget of memory.

    Where the errors of all windows would take more than `budget_bytes`, only every k-th window in order of time is
    kept: neighbouring windows share most of their rows, and quantiles of fewer windows stay valid by the same theorem.
    """

    def __init__(
        self,
        *,
        num_windows: int,
        num_channels: int,
        pred_len: int,
        device: torch.device | str = "cpu",
        budget_bytes: int = ERRORS_BUDGET_BYTES,
    ):
        affordable = max(1, budget_bytes // (4 * num_channels * pred_len))
        self.every = -(-num_windows // affordable)
        num_slots = -(-num_windows // self.every)
        self.errors = torch.zeros(num_channels, num_slots, pred_len, device=device)
        self.is_kept = torch.zeros(num_channels, num_slots, device=device)

    def update(
        self,
        forecast: Float[Tensor, "row pred_len channel"],
        target: Float[Tensor, "row pred_len channel"],
        *,
        window: Int[Tensor, "row channel"],
        channel: Int[Tensor, "row channel"],
    ) -> None:
        """Takes in a batch; `window` and `channel` number each series of it."""
        errors = (forecast - target).abs().transpose(1, 2).flatten(0, 1)
        windows, channels = window.flatten(), channel.flatten()
        chosen = windows % self.every == 0
        slots, channels = windows[chosen] // self.every, channels[chosen]
        self.errors[channels, slots] = errors[chosen]
        self.is_kept[channels, slots] = 1

    def reduce(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Brings together what each process collected (each window of a channel in one of them)."""
        self.errors = sum_over_processes(self.errors)
        self.is_kept = sum_over_processes(self.is_kept)

    def intervals(self) -> Intervals:
        """The half widths at every kept level."""
        num_channels, _, pred_len = self.errors.shape
        levels = kept_levels(num_channels, pred_len)
        bounds = torch.full((len(levels), num_channels, pred_len), math.inf)
        counts = self.is_kept.sum(1).int().tolist()
        for channel, count in enumerate(counts):
            ordered = self.errors[channel][self.is_kept[channel] > 0].sort(dim=0).values
            ranks = [conformal_rank(count, level) for level in levels]
            known = [number for number, rank in enumerate(ranks) if rank is not None]
            bounds[known, channel] = ordered[[rank - 1 for rank in ranks if rank is not None]].cpu()
        return Intervals(levels, bounds, min(counts))


class Coverage:
    """Counts how often the truth lies inside intervals, as evaluation goes over a split."""

    def __init__(
        self, intervals: Intervals, *, levels: Sequence[float] = REPORTED_LEVELS, device: torch.device | str = "cpu"
    ):
        of_level = {level: intervals.bounds[intervals.levels.index(level)] for level in levels}
        self.bounds = {level: bounds.to(device) for level, bounds in of_level.items() if not bounds.isinf().any()}
        num_channels = intervals.bounds.shape[1]
        self.inside = torch.zeros(len(self.bounds), num_channels, dtype=torch.float64, device=device)
        self.count = torch.zeros(num_channels, dtype=torch.float64, device=device)

    def update(
        self,
        forecast: Float[Tensor, "row pred_len channel"],
        target: Float[Tensor, "row pred_len channel"],
        *,
        window: Int[Tensor, "row channel"],  # noqa: ARG002
        channel: Int[Tensor, "row channel"],
    ) -> None:
        """Takes in a batch; `channel` numbers each series of it."""
        errors = (forecast - target).abs().transpose(1, 2).flatten(0, 1)
        channels = channel.flatten()
        for number, bounds in enumerate(self.bounds.values()):
            self.inside[number].index_add_(0, channels, (errors <= bounds[channels]).double().sum(1))
        self.count.index_add_(0, channels, torch.full_like(channels, errors.shape[1], dtype=torch.float64))

    def reduce(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Replaces every count by the count over all processes."""
        *inside, self.count = sum_over_processes(torch.cat([self.inside, self.count[None]]))
        self.inside = torch.stack(inside) if inside else self.inside

    def summary(self) -> dict[str, Any]:
        """Share of covered values by level ("0.9"), in all and per channel; none for levels with too few errors."""
        total = (self.inside.sum(1) / self.count.sum()).tolist()
        per_channel = (self.inside / self.count.clamp(min=1)).tolist()
        names = [f"{level:g}" for level in self.bounds]
        return {**dict(zip(names, total, strict=True)), "per_channel": dict(zip(names, per_channel, strict=True))}
