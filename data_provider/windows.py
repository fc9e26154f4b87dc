"""Windows (look-back and target) of a split, gathered by row number from one scaled tensor."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset

from data_provider.transfer import copied_to, kept_on


@dataclass(frozen=True)
class Batch:
    """Rows of a split in scaled units, with their row numbers (`rows`, on the CPU).

    `inputs` are the model's further keyword arguments: prompt inputs, cached features, time features.
    `num_global_rows` is the size of the batch over all ranks, by which ranks with unequal shares weight their loss.
    """

    rows: Int64[Tensor, "row"]
    look_back: Float[Tensor, "row seq_len channel"]
    target: Float[Tensor, "row pred_len target_channel"]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    num_global_rows: int = 0


class Windows(Dataset[Batch]):
    """All windows of stride 1 in a scaled series; `windows[rows]` gathers a whole batch at once.

    Channel-independent: a row is one channel of one window, numbered `window * len(row_channels) + position`. Otherwise
    a row is a window with all channels, and its target has only the `target_channels`.
    `row_channels` are the channels that have rows, `target_channels` those that are evaluated (default of both: all).
    The values are stored once, however many windows there are. `original` are the same values in original units.
    """

    _original: Float64[ndarray, "time channel"] | None = None
    _known_future: Float[Tensor, "time column"] | None = None

    def __init__(
        self,
        scaled: Float[ndarray, "time channel"],
        *,
        seq_len: int,
        pred_len: int,
        channel_independent: bool,
        target_channels: Sequence[int] | None = None,
        row_channels: Sequence[int] | None = None,
        dates: pd.DatetimeIndex | None = None,
        time_features: Float[ndarray, "time feature"] | None = None,
        known_future: Float[ndarray, "time column"] | None = None,
        original: Float64[ndarray, "time channel"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        num_steps, self.num_channels = scaled.shape
        self.seq_len, self.pred_len = seq_len, pred_len
        self.num_windows = num_steps - seq_len - pred_len + 1
        self.channel_independent = channel_independent
        self.target_channels = list(range(self.num_channels) if target_channels is None else target_channels)
        self.row_channels = list(range(self.num_channels) if row_channels is None else row_channels)
        self.dates = dates
        values = torch.from_numpy(scaled).float()
        # Contiguous along the axis that is read: time for single channels, channels for whole windows.
        self._on_cpu = values.T.contiguous() if channel_independent else values.contiguous()
        self._values = self._on_cpu.to(device)
        self._original = original
        if known_future is not None:
            self._known_future = torch.from_numpy(known_future).float().to(device)
        self._time_features = None if time_features is None else torch.from_numpy(time_features).to(device)

    @property
    def device(self) -> torch.device:
        """The device of the batches."""
        return self._values.device

    def __len__(self) -> int:
        """Number of rows."""
        return self.num_windows * (len(self.row_channels) if self.channel_independent else 1)

    def __getitem__(self, rows: Sequence[int] | Int64[Tensor, "row"]) -> Batch:
        """The batch of these rows."""
        numbers = torch.as_tensor(rows, dtype=torch.int64, device="cpu").reshape(-1)
        length = self.seq_len + self.pred_len
        both = self._gather(self._values, numbers, length)
        inputs = {}
        further = {"time_features": self._time_features, "known_future": self._known_future}
        for name, values in further.items():
            if values is not None:
                window, _ = self._window_and_position(copied_to(numbers, self.device))
                inputs[name] = values[_spans(window, length)]
        return Batch(numbers, both[:, : self.seq_len], self.keep_targets(both[:, self.seq_len :]), inputs, len(numbers))

    @property
    def num_training_rows(self) -> int:
        """Rows per training epoch."""
        return len(self)

    def training_rows(self, *, seed: int, epoch: int) -> Int64[Tensor, "row"]:
        """The rows of a training epoch in shuffled order, which depends on (seed, epoch) alone."""
        return permutation(len(self), seed=seed, epoch=epoch)

    def look_back_on_cpu(self, rows: Int64[Tensor, "row"]) -> Float[Tensor, "row seq_len channel"]:
        """The look-back windows of these rows on the CPU, bit for bit those of the batch."""
        return self._gather(self._on_cpu, rows, self.seq_len)

    def original_look_back(self, rows: Int64[Tensor, "row"]) -> dict[str, Tensor]:
        """The look-back of these rows in original units (`original`, float64) and its dates (`times`), on the CPU.

        Times are nanoseconds since 1970.
        """
        assert self._original is not None and self.dates is not None, "these windows have no original values"
        window, position = (part.numpy() for part in self._window_and_position(rows))
        steps = window[:, None] + np.arange(self.seq_len)
        values = self._original[steps]
        if self.channel_independent:
            values = values[np.arange(len(rows)), :, np.array(self.row_channels)[position]][..., None]
        return {
            "original": torch.from_numpy(values),
            "times": torch.from_numpy(self.dates.as_unit("ns").asi8[steps]),
        }

    def rows_of_windows(self, windows: Sequence[int]) -> Int64[Tensor, "row"]:
        """The rows of these windows, window by window, channels in order."""
        numbers = torch.tensor(windows)
        if not self.channel_independent:
            return numbers
        num_channels = len(self.row_channels)
        return (numbers[:, None] * num_channels + torch.arange(num_channels)).flatten()

    def window_and_channel(self, rows: Int64[Tensor, "row"]) -> tuple[Int64[Tensor, "row"], Int64[Tensor, "row"]]:
        """Each row's window (0 is the oldest) and channel; channel-independent rows only."""
        if not self.channel_independent:
            raise ValueError("a row of whole windows has no single channel")
        window, position = self._window_and_position(rows)
        return window, kept_on(tuple(self.row_channels), rows.device)[position]

    def series_of(
        self, rows: Int64[Tensor, "row"]
    ) -> tuple[Int64[Tensor, "row target_channel"], Int64[Tensor, "row target_channel"]]:
        """Window number, and position among the evaluated channels, of each series in these rows."""
        if not self.channel_independent:
            position = torch.arange(len(self.target_channels), device=rows.device)
            return rows[:, None].expand(-1, len(position)), position[None].expand(len(rows), -1)
        window, channel = self.window_and_channel(rows)
        places = dict(zip(self.target_channels, range(len(self.target_channels)), strict=True))
        positions = kept_on(tuple(places.get(number, 0) for number in range(self.num_channels)), rows.device)
        return window[:, None], positions[channel][:, None]

    @property
    def sample_channels(self) -> list[int]:
        """The evaluated channels that have common dates, of which sample forecasts are kept."""
        return self.target_channels

    @property
    def complete_windows(self) -> range:
        """The windows that all `sample_channels` have."""
        return range(self.num_windows)

    def keep_targets(self, values: Float[Tensor, "row time channel"]) -> Float[Tensor, "row time target_channel"]:
        """Select the evaluated channels of `values`, which have the channels of a row."""
        if self.channel_independent or len(self.target_channels) == self.num_channels:
            return values
        return values.index_select(-1, kept_on(tuple(self.target_channels), values.device))

    def target_dates(self, window: int) -> pd.DatetimeIndex:
        """The dates of a window's horizon."""
        assert self.dates is not None
        return self.dates[window + self.seq_len : window + self.seq_len + self.pred_len]

    def without_time_features(self) -> Self:
        """The same windows (sharing memory) without time features and known columns."""
        windows = copy(self)
        windows._time_features = windows._known_future = None
        return windows

    def _window_and_position(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if not self.channel_independent:
            return rows, torch.zeros_like(rows)
        return rows // len(self.row_channels), rows % len(self.row_channels)

    def _gather(self, values: Tensor, rows: Tensor, length: int) -> Tensor:
        window, position = self._window_and_position(copied_to(rows, values.device))
        times = _spans(window, length)
        if not self.channel_independent:
            return values[times]
        channel = kept_on(tuple(self.row_channels), values.device)[position]
        return values[channel[:, None], times][..., None]


def permutation(num_rows: int, *, seed: int, epoch: int) -> Int64[Tensor, "{num_rows}"]:
    """A random permutation of `num_rows` rows that does not touch the global generator."""
    # SeedSequence mixes both numbers, so that (seed, epoch + 1) and (seed + 1, epoch) give different orders.
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randperm(num_rows, generator=torch.Generator().manual_seed(mixed))


def _spans(window: Int64[Tensor, "row"], length: int) -> Int64[Tensor, "row length"]:
    return window[:, None] + torch.arange(length, device=window.device)
