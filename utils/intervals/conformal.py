"""Split-conformal prediction intervals: quantiles of absolute validation errors, per channel and horizon step.

The interval of level q is the forecast plus and minus the k-th smallest of the n validation errors of that channel and
step, k = ceil((n + 1) q). For exchangeable errors it contains the target with a probability of at least q (Vovk et al.
2005; Lei et al., JASA 2018, theorem 2.2). Errors of overlapping windows are not exchangeable, so every run also reports
the coverage on its test split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.files import DamagedFile
from utils.metrics import Evaluated, Metric
from utils.schemas.checking import checked
from utils.schemas.headers import IntervalHeader

LEVELS = (*(percent / 100 for percent in range(50, 100)), 0.995, 0.999)
COARSE_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
REPORTED_LEVELS = (0.8, 0.9)
ERRORS_BUDGET_BYTES = 2**28
BOUNDS_BUDGET_BYTES = 2**25


def conformal_rank(num_errors: int, level: float) -> int | None:
    """Rank (1 is the smallest) of the error that bounds the interval; None if there are too few errors."""
    # As binary floats, 0.55 * 100 > 55: use the decimal number as written.
    rank = math.ceil((num_errors + 1) * Fraction(str(level)))
    return rank if rank <= num_errors else None


def kept_levels(num_channels: int, pred_len: int) -> tuple[float, ...]:
    """The levels that a run saves: every percent from 0.5 on, or only five if there are many channels and steps."""
    size = 4 * len(LEVELS) * num_channels * pred_len
    return LEVELS if size <= BOUNDS_BUDGET_BYTES else COARSE_LEVELS


@dataclass(frozen=True, eq=False)
class Intervals:
    """Half widths of prediction intervals in scaled units; infinite if there were too few errors for a level.

    `num_errors` is the number of validation errors behind each bound (the smallest over the channels). `coverage` is
    the share of the values of the test split inside, if it was counted.
    """

    levels: tuple[float, ...]
    bounds: Float[Tensor, "level channel pred_len"]
    num_errors: int
    coverage: Float[Tensor, "level channel"] | None = None

    def at(self, level: float) -> Float[Tensor, "channel pred_len"]:
        """The half widths of `level`. Raises ValueError for a level that was not saved or had too few errors."""
        # 0.3 + 0.6 is 0.8999999999999999.
        nearest = min(self.levels, key=lambda known: abs(known - level))
        if not math.isclose(nearest, level):
            known = ", ".join(f"{known:g}" for known in self.levels)
            raise ValueError(f"--interval {level:g} is not a level that the run saved: choose one of {known}")
        bounds = self.bounds[self.levels.index(nearest)]
        if torch.isinf(bounds).any():
            highest = max((known for known in self.levels if conformal_rank(self.num_errors, known)), default=None)
            way_out = "train with more validation rows" if highest is None else f"choose at most {highest:g}"
            raise ValueError(
                f"--interval {level:g} needs more validation windows than the {self.num_errors} of this run: {way_out}"
            )
        return bounds

    def save(self, path: Path, *, run_id: str) -> None:
        """Write the intervals to a safetensors file that belongs to the run `run_id`."""
        header = {"levels": self.levels, "num_errors": self.num_errors, "unit": "scaled units", "run_id": run_id}
        coverage = {} if self.coverage is None else {"coverage": self.coverage}
        save_checkpoint(path, {"bounds": self.bounds, **coverage}, header)

    @classmethod
    def load(cls, path: Path, *, run_id: str | None = None) -> Self:
        """Read what `save` wrote. Raises FileNotFoundError if there is none, DamagedFile if it is not usable."""
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: intervals are in the folder of a run that was trained to its end; leave "
                "--interval away for the forecast alone"
            )
        tensors, header = load_checkpoint(path, run_id=run_id)
        checked(header, IntervalHeader, path)
        bounds = tensors.get("bounds")
        if bounds is None or bounds.ndim != 3 or len(bounds) != len(header["levels"]) or not bool((bounds >= 0).all()):
            raise DamagedFile(f"{path} holds no half widths [level, channel, step] for its levels: it is not used")
        return cls(tuple(header["levels"]), bounds, header["num_errors"], tensors.get("coverage"))


class AbsoluteErrors(Metric):
    """Absolute errors of the validation windows, from which intervals are computed.

    If those of all windows exceed `budget_bytes`, only every k-th window in time is kept: neighbouring windows share
    most of their time steps, and the theorem holds for fewer windows too.
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

    def update(self, batch: Evaluated) -> None:
        errors = (batch.forecast - batch.target).abs().transpose(1, 2).flatten(0, 1)
        windows, channels = batch.window.flatten(), batch.channel.flatten()
        # Zeros are added for windows that are left out: selecting the others would make the host wait for a GPU.
        kept = windows % self.every == 0
        places = channels * self.errors.shape[1] + windows // self.every
        self.errors.flatten(0, 1).index_add_(0, places, torch.where(kept[:, None], errors, 0.0))
        self.is_kept.flatten().index_add_(0, places, kept.float())

    def intervals(self) -> Intervals:
        """The intervals at all saved levels."""
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


class Coverage(Metric):
    """The share of targets inside prediction intervals, by level; `levels` are those of the summary."""

    def __init__(
        self, intervals: Intervals, *, levels: Sequence[float] = REPORTED_LEVELS, device: torch.device | str = "cpu"
    ):
        is_known = ~intervals.bounds.isinf().flatten(1).any(1)
        self.intervals, self.num_known = intervals, int(is_known.sum())
        self.levels = [level for level in levels if level in intervals.levels[: self.num_known]]
        # A list, because `reduce` sums tensor attributes over ranks.
        self.bounds = [bounds.to(device) for bounds in intervals.bounds[: self.num_known].permute(1, 2, 0).contiguous()]
        # Channel -> number of values whose error lies between the bounds of a level and of the one below; beyond all.
        shape = intervals.bounds.shape[1], self.num_known + 1
        self.counts = torch.zeros(shape, dtype=torch.float64, device=device)

    def update(self, batch: Evaluated) -> None:
        errors = (batch.forecast - batch.target).abs().transpose(1, 2).flatten(0, 1)
        channels = batch.channel.flatten()
        for number in channels.unique().tolist():
            places = torch.searchsorted(self.bounds[number], errors[channels == number].T.contiguous())
            self.counts[number] += torch.bincount(places.flatten(), minlength=self.num_known + 1)

    def shares(self) -> dict[str, Any]:
        """Level ("0.9") -> covered share, over everything and per channel; levels with too few errors are left out."""
        inside, count = self._inside()
        chosen = [self.intervals.levels.index(level) for level in self.levels]
        total = (inside[chosen].sum(1) / count.sum()).tolist()
        per_channel = (inside[chosen] / count.clamp(min=1)).tolist()
        names = [f"{level:g}" for level in self.levels]
        return {**dict(zip(names, total, strict=True)), "per_channel": dict(zip(names, per_channel, strict=True))}

    def measured_intervals(self) -> Intervals:
        """The intervals with their coverage at every level; 0 for levels with too few errors."""
        inside, count = self._inside()
        coverage = torch.zeros(len(self.intervals.levels), len(count))
        coverage[: self.num_known] = (inside / count.clamp(min=1)).float().cpu()
        return replace(self.intervals, coverage=coverage)

    def summary(self, *, columns: Sequence[str], scale: Sequence[float]) -> dict[str, Any]:  # noqa: ARG002
        return {"coverage": self.shares()}

    def _inside(self) -> tuple[Float[Tensor, "level channel"], Float[Tensor, "channel"]]:
        """The number of covered values by level, and that of all values."""
        return self.counts[:, :-1].cumsum(1).T, self.counts.sum(1)
