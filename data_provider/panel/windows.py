"""Windows within each series of a panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from torch import Tensor

from data_provider.windows import Windows


@dataclass(frozen=True, eq=False)
class PanelPart:
    """The rows of one series in a split, scaled and in original units, with their dates and calendar features."""

    scaled: Float64[ndarray, "time"]
    original: Float64[ndarray, "time"]
    dates: pd.DatetimeIndex
    time_features: Float[ndarray, "time feature"] | None = None


class PanelWindows(Windows):
    """All windows of stride 1 in each series, as rows [row, time, 1]: series by series, oldest window first.

    The channel of a row is the number of its series. Windows are numbered so that the last one of every series has the
    same number: a window is what series that end together read at one time. Each series must hold at least one.
    """

    def __init__(
        self, parts: Sequence[PanelPart], *, seq_len: int, pred_len: int, device: torch.device | str = "cpu"
    ) -> None:
        self.channel_independent, self.num_channels = True, len(parts)
        self.row_channels = self.target_channels = list(range(len(parts)))
        self.seq_len, self.pred_len, self.dates = seq_len, pred_len, None
        self._parts = list(parts)
        lengths = torch.tensor([len(part.scaled) for part in parts])
        self._counts = lengths - seq_len - pred_len + 1
        assert bool((self._counts > 0).all())
        self.num_windows = int(self._counts.max())
        self._rows_until = self._counts.cumsum(0)
        self._offset = lengths.cumsum(0) - lengths
        self._on_cpu = torch.from_numpy(np.concatenate([part.scaled for part in parts])).float()
        self._values = self._on_cpu.to(device)
        features = [part.time_features for part in parts if part.time_features is not None]
        self._time_features = torch.from_numpy(np.concatenate(features)).to(device) if features else None
        last_dates = [part.dates.as_unit("ns").asi8[-1] for part in parts]
        most = Counter(last_dates).most_common(1)[0][0]
        self._together = [number for number, date in enumerate(last_dates) if date == most]

    def __len__(self) -> int:
        return int(self._rows_until[-1])

    @property
    def sample_channels(self) -> list[int]:
        """The series that end at the date at which the most do."""
        return self._together

    @property
    def complete_windows(self) -> range:
        """The windows that all `sample_channels` have."""
        return range(self.num_windows - int(self._counts[self._together].min()), self.num_windows)

    def original_look_back(self, rows: Int64[Tensor, "row"]) -> dict[str, Tensor]:
        """The look-back of these rows in original units (`original`, float64) and its dates (`times`), on the CPU."""
        series, first = self._series_and_window(rows)
        found, times = [], []
        for number, start in zip(series.tolist(), first.tolist(), strict=True):
            part, steps = self._parts[number], slice(start, start + self.seq_len)
            found.append(part.original[steps, None])
            times.append(part.dates[steps].as_unit("ns").asi8)
        return {"original": torch.from_numpy(np.stack(found)), "times": torch.from_numpy(np.stack(times))}

    def rows_of_windows(self, windows: Sequence[int]) -> Int64[Tensor, "row"]:
        """The rows of these windows, window by window, of every series that has them."""
        found = []
        for window in windows:
            first = window - self.num_windows + self._counts
            found.append((self._rows_until - self._counts + first)[first >= 0])
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

    def window_and_channel(self, rows: Int64[Tensor, "row"]) -> tuple[Int64[Tensor, "row"], Int64[Tensor, "row"]]:
        """Each row's window and series."""
        series, first = self._series_and_window(rows.cpu())
        window = self.num_windows - self._counts[series] + first
        return window.to(rows.device), series.to(rows.device)

    def target_dates(self, window: int) -> pd.DatetimeIndex:
        """The dates of a window's horizon in the `sample_channels`."""
        dates = self._parts[self._together[0]].dates
        last = len(dates) - (self.num_windows - 1 - window)
        return dates[last - self.pred_len : last]

    def _series_and_window(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """For each row, the number of its series and the place in it at which its look-back begins."""
        series = torch.searchsorted(self._rows_until, rows.contiguous(), right=True)
        return series, rows - (self._rows_until - self._counts)[series]

    def _window_and_position(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """For each row, the place in memory at which its look-back begins, and the number of its series."""
        series, first = self._series_and_window(rows.cpu())
        return (self._offset[series] + first).to(rows.device), series.to(rows.device)

    def _gather(self, values: Tensor, rows: Tensor, length: int) -> Tensor:
        place, _ = self._window_and_position(rows)
        return values[(place[:, None] + torch.arange(length)).to(values.device)][..., None]
