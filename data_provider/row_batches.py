"""The order in which rows are visited, and how processes share it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Sampler


class RowSlice(NamedTuple):
    """This process's rows of one global batch, and how many rows the global batch has over all processes."""

    rows: Int64[Tensor, "row"]
    num_global_rows: int


class RowBatches(Sampler[RowSlice]):
    """Batches of row numbers: in order, or in a permutation that (seed, epoch) alone determine.

    A global batch is `batch_size` rows times `num_processes`, of which each process gets its contiguous slice, so that
    2 processes of 16 rows see the global batches of 1 process of 32. The last, incomplete one is kept and divided as
    evenly as possible. With `shuffle` every process gets the same number of batches: when the last global batch has
    fewer rows than there are processes (at most `num_processes - 1`), those rows are left out of the epoch. In order,
    every row comes exactly once and a process without rows in the last batch skips it.
    """

    def __init__(
        self,
        num_rows: int,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"--batch_size must be at least 1 row, got {batch_size}")
        assert 0 <= process_index < num_processes
        self.num_rows, self.shuffle, self.seed = num_rows, shuffle, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.global_batch_size = batch_size * num_processes
        self._epoch = 0
        self._first_step = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation of the next pass."""
        self._epoch = epoch

    def start_at(self, step: int) -> None:
        """Lets the next pass, and only that one, begin at this step of its epoch (for resuming)."""
        self._first_step = step

    @property
    def num_left_out(self) -> int:
        """Rows at the end of each permutation that too few processes could share."""
        rest = self.num_rows % self.global_batch_size
        return rest if self.shuffle and rest < self.num_processes else 0

    def __len__(self) -> int:
        """Steps of a whole pass in this process."""
        complete, rest = divmod(self.num_rows - self.num_left_out, self.global_batch_size)
        return complete + (1 if len(self._slice(rest)) > 0 else 0)

    def __iter__(self) -> Iterator[RowSlice]:
        order = self._order()
        first, self._first_step = self._first_step, 0
        return (self._batch(order, step) for step in range(first, len(self)))

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.num_rows)
        # Two numbers into one seed: neighbouring seeds and epochs must not meet.
        mixed = int(np.random.SeedSequence([self.seed, self._epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.randperm(self.num_rows, generator=torch.Generator().manual_seed(mixed))

    def _batch(self, order: Tensor, step: int) -> RowSlice:
        start = step * self.global_batch_size
        num_global = min(self.global_batch_size, self.num_rows - start)
        own = self._slice(num_global)
        return RowSlice(order[start + own.start : start + own.stop], num_global)

    def _slice(self, num_global_rows: int) -> range:
        """This process's share of a global batch: sizes differ by at most one row."""
        first = num_global_rows * self.process_index // self.num_processes
        return range(first, num_global_rows * (self.process_index + 1) // self.num_processes)
