"""Windows of many series of different lengths, as rows of one channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from data_provider.m4 import M4Data
from data_provider.row_batches import RowBatches
from data_provider.scaling import Standardizer
from data_provider.series import Series
from data_provider.splits import Borders, Split
from data_provider.windows import Batch, Windows

COLUMN = "value"


def m4_scales(data: M4Data) -> Float[ndarray, "series"]:
    """Each series' mean absolute value before its validation target: scaled units are multiples of it.

    Neither SMAPE nor MASE depends on such a factor, and models without instance normalisation can learn.
    """
    known = [np.abs(series[: -data.frequency.horizon]).mean() for series in data.train]
    return np.array([scale if scale > 0 else 1.0 for scale in known])


def m4_series(data: M4Data) -> Series:
    """What is common to all series of a frequency, in the form of one; it holds neither values nor dates."""
    return Series(
        name=f"M4-{data.name}",
        columns=[COLUMN],
        dates=pd.DatetimeIndex([]),
        values=np.zeros((0, 1)),
        borders=Borders(0, 0, 0),
        scaler=Standardizer(np.zeros(1), np.ones(1)),
        target_channels=[0],
        time_step=data.frequency.time_step,
        season_length=data.frequency.season_length,
        notes=[],
        is_demo=False,
        fingerprint=data.fingerprint,
    )


class M4Windows(Windows):
    """Rows of one split: `windows[rows]` gathers a batch [row, time, 1] in multiples of each series' scale.

    Training rows are all windows within the frequency's reach whose target ends before the last horizon of the training
    series; validation rows are that last horizon, test rows the test series, one a series in the order of the file. A
    look-back longer than its series is filled up with the series' first value.
    """

    def __init__(self, data: M4Data, split: Split, *, device: torch.device | str = "cpu") -> None:
        horizon = data.frequency.horizon
        self.series, self.split = m4_series(data), split
        self.channel_independent = True
        self.row_channels, self.target_channels = [0], [0]
        self.seq_len, self.pred_len = 2 * horizon, horizon
        if split == "test":
            segments = [np.concatenate(pair) for pair in zip(data.train, data.test, strict=True)]
        else:
            segments = [series[:-horizon] if split == "train" else series for series in data.train]
        scaled = [segment / scale for segment, scale in zip(segments, m4_scales(data), strict=True)]
        lengths = np.array([len(segment) for segment in segments])
        last_start = lengths - horizon
        if split == "train":
            first_start = np.maximum(1, last_start - int(data.frequency.reach * horizon) + 1)
        else:
            first_start = last_start
        self._first_start = torch.from_numpy(first_start)
        self.num_starts = torch.from_numpy(np.maximum(0, last_start - first_start + 1))
        self._rows_until = self.num_starts.cumsum(0)
        self.num_windows = int(self._rows_until[-1])
        if self.num_windows == 0:
            raise ValueError(f"no series of M4 {data.name} is long enough for a window before its last {horizon} steps")
        self._offset = torch.from_numpy(np.concatenate([[0], lengths[:-1].cumsum()]))
        self._on_cpu = torch.from_numpy(np.concatenate(scaled)).float()
        self._values = self._on_cpu.to(device)

    def __getitem__(self, rows: Sequence[int] | Int64[Tensor, "row"]) -> Batch:
        """The batch of these rows."""
        numbers = torch.as_tensor(rows, dtype=torch.int64, device="cpu").reshape(-1)
        look_back = self._values[self._look_back_places(numbers).to(self.device)]
        offset, start = self._place(numbers)
        target = self._values[(offset + start + torch.arange(self.pred_len)).to(self.device)]
        return Batch(numbers, look_back[..., None], target[..., None], {}, len(numbers))

    def look_back_on_cpu(self, rows: Int64[Tensor, "row"]) -> Float[Tensor, "row seq_len channel"]:
        """The look-back windows of these rows from a copy on the CPU, bit for bit those of the batch."""
        return self._on_cpu[self._look_back_places(rows)][..., None]

    def rows_of_series(self, series: Int64[Tensor, "row"], number: Int64[Tensor, "row"]) -> Int64[Tensor, "row"]:
        """The row of the window `number` (0 is the oldest) of each of these series."""
        return self._rows_until[series] - self.num_starts[series] + number

    def _place(self, rows: Tensor) -> tuple[Int64[Tensor, "row 1"], Int64[Tensor, "row 1"]]:
        """Where each row's series begins in memory, and the first step of its target within the series."""
        series = torch.searchsorted(self._rows_until, rows, right=True)
        number = rows - (self._rows_until[series] - self.num_starts[series])
        return self._offset[series][:, None], (self._first_start[series] + number)[:, None]

    def _look_back_places(self, rows: Tensor) -> Int64[Tensor, "row seq_len"]:
        offset, start = self._place(rows)
        return offset + (start - self.seq_len + torch.arange(self.seq_len)).clamp(min=0)


class OneWindowPerSeries(RowBatches):
    """Each epoch visits every series once, at a window that (seed, epoch) draw, in a permutation that they draw too."""

    def __init__(
        self, windows: M4Windows, *, batch_size: int, seed: int, process_index: int = 0, num_processes: int = 1
    ) -> None:
        self._windows = windows
        self._usable = torch.nonzero(windows.num_starts)[:, 0]
        super().__init__(
            len(self._usable),
            batch_size=batch_size,
            shuffle=True,
            seed=seed,
            process_index=process_index,
            num_processes=num_processes,
        )

    def _order(self) -> Tensor:
        series = self._usable[super()._order()]
        starts = self._windows.num_starts[series]
        uniform = np.random.default_rng([self.seed, self._epoch]).random(len(series))
        return self._windows.rows_of_series(series, (torch.from_numpy(uniform) * starts).long())
