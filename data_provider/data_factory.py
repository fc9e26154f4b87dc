"""From a series to the windows of a split and the loader over them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from data_provider.config import DataConfig
from data_provider.prefetch import prefetch
from data_provider.row_batches import RowBatches, RowSlice
from data_provider.row_store import MemoryBudget, RowStore
from data_provider.series import Series
from data_provider.splits import Split
from data_provider.windows import Batch, Windows

logger = logging.getLogger(__name__)

DEFAULT_BUDGET_BYTES = 2**30
PromptInputs = Callable[[Tensor], dict[str, Tensor]]


class BatchLoader:
    """Iterates over the batches of a split on its device; `len()` is the number of steps of a pass.

    What `constants` computes of a row's look-back (on the CPU) is delivered in `Batch.constants`. It is made ahead in a
    background thread and kept per row in `store`, within its budget, over all epochs.
    """

    def __init__(
        self,
        windows: Windows,
        row_batches: RowBatches,
        *,
        constants: PromptInputs | None = None,
        store: RowStore | None = None,
    ) -> None:
        self.windows, self.row_batches = windows, row_batches
        self._constants, self.store = constants, store

    def __len__(self) -> int:
        return len(self.row_batches)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation of the next pass."""
        self.row_batches.set_epoch(epoch)

    def start_at(self, step: int) -> None:
        """Lets the next pass begin at this step (for resuming)."""
        self.row_batches.start_at(step)

    def __iter__(self) -> Iterator[Batch]:
        slices = iter(self.row_batches)
        if self._constants is None:
            return (self._batch(slice_, {}) for slice_ in slices)
        ahead = prefetch((slice_, self._prompt_inputs(slice_.rows)) for slice_ in slices)
        return (self._batch(slice_, constants) for slice_, constants in ahead)

    def batch(self, rows: Tensor) -> Batch:
        """The batch of any rows of the split, outside a pass."""
        constants = {} if self._constants is None else self._prompt_inputs(rows)
        return self._batch(RowSlice(rows, len(rows)), constants)

    def _prompt_inputs(self, rows: Tensor) -> dict[str, Tensor]:
        def compute(missing: Tensor) -> dict[str, Tensor]:
            assert self._constants is not None
            with torch.no_grad():
                return self._constants(self.windows.look_back_on_cpu(missing))

        constants = self.store.get(rows, compute) if self.store is not None else compute(rows)
        if self.windows.device.type != "cuda":
            return constants
        return {name: tensor.pin_memory() for name, tensor in constants.items()}

    def _batch(self, slice_: RowSlice, constants: dict[str, Tensor]) -> Batch:
        batch = self.windows[slice_.rows]
        on_device = {name: tensor.to(batch.look_back.device, non_blocking=True) for name, tensor in constants.items()}
        return replace(batch, constants=batch.constants | on_device, num_global_rows=slice_.num_global_rows)


def data_provider(
    series: Series,
    split: Split,
    *,
    config: DataConfig,
    channel_independent: bool,
    batch_size: int,
    seed: int = 0,
    shuffle: bool | None = None,
    device: torch.device | str = "cpu",
    process_index: int = 0,
    num_processes: int = 1,
    constants: PromptInputs | None = None,
    constants_budget: MemoryBudget | None = None,
    needs_time_features: bool = False,
) -> tuple[Windows, BatchLoader]:
    """The windows of a split and a loader over this process's share of them, `batch_size` rows a process and step.

    Training is shuffled by (seed, epoch), every other split is read in order, unless `shuffle` says otherwise.
    `constants` maps look-back windows [row, seq_len, channel] on the CPU to named tensors with one entry per row.
    """
    windows = Windows(
        series,
        split,
        config=config,
        channel_independent=channel_independent,
        device=device,
        needs_time_features=needs_time_features,
    )
    row_batches = RowBatches(
        len(windows),
        batch_size=batch_size,
        shuffle=split == "train" if shuffle is None else shuffle,
        seed=seed,
        process_index=process_index,
        num_processes=num_processes,
    )
    if row_batches.num_left_out and process_index == 0:
        logger.info("%d rows per epoch are left out: too few for %d processes", row_batches.num_left_out, num_processes)
    budget = constants_budget or MemoryBudget(DEFAULT_BUDGET_BYTES)
    store = RowStore(len(windows), budget=budget) if constants is not None else None
    return windows, BatchLoader(windows, row_batches, constants=constants, store=store)
