"""Look-back and horizon windows of one split, gathered by index from one scaled tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from data_provider.config import DataConfig
from data_provider.series import Series
from data_provider.splits import Split, num_windows, rows_of_split
from data_provider.time_features import time_features


@dataclass(frozen=True)
class Batch:
    """Rows of a split in scaled units; `rows` (on the CPU) are their numbers, `constants` what else belongs to them.

    `num_global_rows` counts the rows of the whole global batch over all processes, so that uneven slices can be
    weighted: the mean over the global batch is the sum over processes divided by it.
    """

    rows: Int64[Tensor, "row"]
    look_back: Float[Tensor, "row seq_len channel"]
    target: Float[Tensor, "row pred_len target_channel"]
    constants: dict[str, Tensor] = field(default_factory=dict)
    num_global_rows: int = 0


class Windows(Dataset[Batch]):
    """The windows (stride 1) of one split as rows: `windows[rows]` gathers a whole batch at once.

    Channel-independent: row = window * len(row_channels) + position of the channel, so the channel runs fastest, and a
    row has one channel. Otherwise a row is a window with all channels, and its target has only `target_channels`.
    `row_channels` are the series' channels that make rows, `target_channels` those that are evaluated. Memory is one
    copy of the split's values, however many channels and windows there are.
    """

    def __init__(
        self,
        series: Series,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        device: torch.device | str = "cpu",
        needs_time_features: bool = False,
    ) -> None:
        self.series = series
        self.split: Split = split
        self.channel_independent = channel_independent
        self.seq_len, self.pred_len = config.seq_len, config.pred_len
        span = rows_of_split(
            series.borders, split, seq_len=self.seq_len, pred_len=self.pred_len, percent=config.percent
        )
        self.first_time = span.start
        self.num_windows = num_windows(span, seq_len=self.seq_len, pred_len=self.pred_len)
        self.target_channels = series.target_channels
        evaluates_target_only = channel_independent and split != "train"
        self.row_channels = series.target_channels if evaluates_target_only else list(range(series.num_channels))
        scaled = torch.from_numpy(series.scaler.transform(series.values[span.start : span.stop])).float()
        # Each mode keeps the axis contiguous along which it reads.
        self._on_cpu = scaled.T.contiguous() if channel_independent else scaled.contiguous()
        self._values = self._on_cpu.to(device)
        self._time_features = None
        if needs_time_features:
            features = time_features(series.dates[span.start : span.stop], series.time_step)
            self._time_features = torch.from_numpy(features).to(device)

    @property
    def device(self) -> torch.device:
        """Where the batches are gathered."""
        return self._values.device

    def __len__(self) -> int:
        """Rows of the split."""
        return self.num_windows * (len(self.row_channels) if self.channel_independent else 1)

    def __getitem__(self, rows: Sequence[int] | Int64[Tensor, "row"]) -> Batch:
        """The batch of these rows."""
        numbers = torch.as_tensor(rows, dtype=torch.int64, device="cpu").reshape(-1)
        length = self.seq_len + self.pred_len
        both = self._gather(self._values, numbers, length)
        target = both[:, self.seq_len :]
        if not self.channel_independent and len(self.target_channels) < self.series.num_channels:
            target = target[..., self.target_channels]
        constants = {}
        if self._time_features is not None:
            window, _ = self._window_and_position(numbers.to(self.device))
            constants["time_features"] = self._time_features[_spans(window, length)]
        return Batch(numbers, both[:, : self.seq_len], target, constants, len(numbers))

    def look_back_on_cpu(self, rows: Int64[Tensor, "row"]) -> Float[Tensor, "row seq_len channel"]:
        """The look-back windows of these rows from a copy on the CPU, bit for bit those of the batch."""
        return self._gather(self._on_cpu, rows, self.seq_len)

    def window_and_channel(self, rows: Int64[Tensor, "row"]) -> tuple[Int64[Tensor, "row"], Int64[Tensor, "row"]]:
        """Of each row its window (0 is the oldest) and the series' channel; channel-independent rows only."""
        if not self.channel_independent:
            raise ValueError("a row of whole windows has no single channel")
        window, position = self._window_and_position(rows)
        return window, torch.as_tensor(self.row_channels, device=rows.device)[position]

    def keep_targets(self, forecast: Float[Tensor, "row pred_len channel"]) -> Float[Tensor, "row pred_len target"]:
        """The channels of a forecast that stand beside `Batch.target`."""
        if self.channel_independent or len(self.target_channels) == self.series.num_channels:
            return forecast
        return forecast[..., self.target_channels]

    def look_back_dates(self, window: int) -> pd.DatetimeIndex:
        """The dates of a window's look-back."""
        start = self.first_time + window
        return self.series.dates[start : start + self.seq_len]

    def target_dates(self, window: int) -> pd.DatetimeIndex:
        """The dates of a window's horizon."""
        start = self.first_time + window + self.seq_len
        return self.series.dates[start : start + self.pred_len]

    def _window_and_position(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if not self.channel_independent:
            return rows, torch.zeros_like(rows)
        return rows // len(self.row_channels), rows % len(self.row_channels)

    def _gather(self, values: Tensor, rows: Tensor, length: int) -> Tensor:
        window, position = self._window_and_position(rows.to(values.device))
        times = _spans(window, length)
        if not self.channel_independent:
            return values[times]
        channel = torch.as_tensor(self.row_channels, device=values.device)[position]
        return values[channel[:, None], times][..., None]


def _spans(window: Int64[Tensor, "row"], length: int) -> Int64[Tensor, "row length"]:
    return window[:, None] + torch.arange(length, device=window.device)
