"""Windows over many univariate series of different lengths (M4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from data_provider.transfer import copied_to
from data_provider.windows import Batch, Windows, permutation


class M4Windows(Windows):
    """The last `reach` windows of each series, as rows [row, time, 1] in the order of the series, oldest window first.

    `series` are in scaled units. A look-back that reaches beyond the start of its series is padded with the first
    value. A series too short for a window has no rows.
    """

    def __init__(
        self,
        series: Sequence[Float[ndarray, "_"]],
        *,
        seq_len: int,
        pred_len: int,
        reach: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.channel_independent, self.num_channels = True, 1
        self.row_channels, self.target_channels = [0], [0]
        self.seq_len, self.pred_len, self.dates, self._time_features = seq_len, pred_len, None, None
        lengths = np.array([len(values) for values in series])
        last_start = lengths - pred_len
        first_start = np.maximum(1, last_start - reach + 1)
        self._first_start = torch.from_numpy(first_start)
        self.num_starts = torch.from_numpy(np.maximum(0, last_start - first_start + 1))
        self._rows_until = self.num_starts.cumsum(0)
        self._usable = torch.nonzero(self.num_starts)[:, 0]
        self.num_windows = int(self._rows_until[-1])
        assert self.num_windows > 0
        self._offset = torch.from_numpy(np.concatenate([[0], lengths[:-1].cumsum()]))
        self._on_cpu = torch.from_numpy(np.concatenate(series)).float()
        self._values = self._on_cpu.to(device)

    def __getitem__(self, rows: Sequence[int] | Int64[Tensor, "row"]) -> Batch:
        """The batch of these rows."""
        numbers = torch.as_tensor(rows, dtype=torch.int64, device="cpu").reshape(-1)
        look_back = self._values[copied_to(self._look_back_places(numbers), self.device)]
        offset, start = self._place(numbers)
        target = self._values[copied_to(offset + start + torch.arange(self.pred_len), self.device)]
        return Batch(numbers, look_back[..., None], target[..., None], {}, len(numbers))

    @property
    def num_training_rows(self) -> int:
        """Rows per training epoch: one for each series that has any."""
        return len(self._usable)

    def training_rows(self, *, seed: int, epoch: int) -> Int64[Tensor, "row"]:
        """One random window of every series, in random order; depends on (seed, epoch) alone."""
        series = self._usable[permutation(len(self._usable), seed=seed, epoch=epoch)]
        starts = self.num_starts[series]
        uniform = np.random.default_rng([seed, epoch]).random(len(series))
        return self._rows_until[series] - starts + (torch.from_numpy(uniform) * starts).long()

    def look_back_on_cpu(self, rows: Int64[Tensor, "row"]) -> Float[Tensor, "row seq_len channel"]:
        """The look-back windows of these rows on the CPU, bit for bit those of the batch."""
        return self._on_cpu[self._look_back_places(rows)][..., None]

    def _place(self, rows: Tensor) -> tuple[Int64[Tensor, "row 1"], Int64[Tensor, "row 1"]]:
        """For each row, the offset of its series in memory and the first step of its target in that series."""
        series = torch.searchsorted(self._rows_until, rows, right=True)
        number = rows - (self._rows_until[series] - self.num_starts[series])
        return self._offset[series][:, None], (self._first_start[series] + number)[:, None]

    def _look_back_places(self, rows: Tensor) -> Int64[Tensor, "row seq_len"]:
        offset, start = self._place(rows)
        return offset + (start - self.seq_len + torch.arange(self.seq_len)).clamp(min=0)
