"""Loader: batches of a split for one rank, with the model's further inputs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import replace
from typing import Self, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.batches.prompt_width import GPU_MULTIPLE, cut_prompts
from data_provider.transfer import prepared_for
from data_provider.windows import Batch, Windows

Item = TypeVar("Item")
PromptInputs = Callable[..., dict[str, Tensor]]
Features = Callable[[Batch], dict[str, Tensor]]
DEFAULT_MEMORY_BYTES = 2**30
PERMUTATION_SEED = 2021
_END = object()


class Loader:
    """Iterates over the batches of a split on its device; `len()` is this rank's number of steps per epoch.

    A global batch has `batch_size * num_processes` rows, and each rank gets a contiguous share of it: 2 ranks with 16
    rows each see the same global batches as 1 rank with 32. The last, incomplete one is divided as evenly as possible.
    With `shuffle` every rank gets the same number of batches: if the last global batch has fewer rows than ranks, it is
    dropped. Without it every row comes exactly once, and a rank without rows in the last batch skips it.

    `prompt_inputs` maps look-back windows [row, seq_len, channel] on the CPU to named tensors with one entry per row.
    They are prefetched in a background thread, cached per row over all epochs within `memory`, and stored in
    `Batch.inputs`; with `prompts_read_original` the function also gets `Windows.original_look_back`.
    With `permutes_prompts` a row gets the prompt inputs of another row of the split, by a fixed permutation of all its
    rows. `features` may then replace the inputs of a batch.
    """

    def __init__(
        self,
        windows: Windows,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        num_processes: int = 1,
        prompt_inputs: PromptInputs | None = None,
        prompts_read_original: bool = False,
        permutes_prompts: bool = False,
        features: Features | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"--batch_size must be at least 1 row, got {batch_size}")
        assert 0 <= rank < num_processes
        self.windows, self.shuffle, self.seed = windows, shuffle, seed
        self.rank, self.num_processes = rank, num_processes
        self.global_batch_size = batch_size * num_processes
        self.prompt_inputs, self.prompts_read_original, self.features = prompt_inputs, prompts_read_original, features
        self._prompt_rows = None
        if permutes_prompts:
            generator = torch.Generator().manual_seed(PERMUTATION_SEED)
            self._prompt_rows = torch.randperm(len(windows), generator=generator)
        self._store = None
        if prompt_inputs is not None:
            from data_provider.batches.row_store import RowStore

            self._store = RowStore(len(windows), budget=memory or MemoryBudget(DEFAULT_MEMORY_BYTES))
        self._max_steps: int | None = None

    @property
    def num_rows(self) -> int:
        """Rows per epoch over all ranks."""
        return self.windows.num_training_rows if self.shuffle else len(self.windows)

    @property
    def num_left_out(self) -> int:
        """Rows that a shuffled epoch drops because there are fewer than ranks."""
        rest = self.num_rows % self.global_batch_size
        return rest if self.shuffle and rest < self.num_processes else 0

    def __len__(self) -> int:
        complete, rest = divmod(self.num_rows - self.num_left_out, self.global_batch_size)
        steps = complete + (1 if len(self._share(rest)) > 0 else 0)
        return steps if self._max_steps is None else min(steps, self._max_steps)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, number: int, *, first_step: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, which seeds the shuffling; a resumed epoch starts at `first_step`."""
        order = self._order(number)
        shares = (self._rows_of_step(order, step) for step in range(first_step, len(self)))
        if self.prompt_inputs is None:
            for rows, num_global_rows in shares:
                yield self._batch(rows, num_global_rows, {})
        else:
            ahead = prefetch((rows, count, self._make_prompt_inputs(rows)) for rows, count in shares)
            for rows, num_global_rows, inputs in ahead:
                yield self._batch(rows, num_global_rows, inputs)

    def batch(self, rows: Int64[Tensor, "row"], *, with_features: bool = True) -> Batch:
        """A batch of any rows; `with_features=False` keeps the prompt inputs instead of the cached features."""
        inputs = {} if self.prompt_inputs is None else self._make_prompt_inputs(rows)
        return self._batch(rows, len(rows), inputs, with_features=with_features)

    def first_steps(self, num_steps: int) -> Self:
        """A loader that stops after `num_steps` steps of each epoch; it shares the cache of prompt inputs."""
        loader = copy(self)
        loader._max_steps = num_steps
        return loader

    def without_inputs(self) -> Self:
        """A loader over the same batches without further inputs, for models that read only the look-back."""
        loader = copy(self)
        loader.windows, loader.prompt_inputs, loader.features = self.windows.without_time_features(), None, None
        return loader

    def _order(self, epoch: int) -> Int64[Tensor, "row"]:
        if self.shuffle:
            return self.windows.training_rows(seed=self.seed, epoch=epoch)
        return torch.arange(len(self.windows))

    def _rows_of_step(self, order: Tensor, step: int) -> tuple[Tensor, int]:
        """This rank's rows of a global batch, and the number of rows over all ranks."""
        start = step * self.global_batch_size
        num_global_rows = min(self.global_batch_size, self.num_rows - start)
        share = self._share(num_global_rows)
        return order[start + share.start : start + share.stop], num_global_rows

    def _share(self, num_global_rows: int) -> range:
        """This rank's positions in a global batch; shares differ by at most one row."""
        first = num_global_rows * self.rank // self.num_processes
        return range(first, num_global_rows * (self.rank + 1) // self.num_processes)

    def _make_prompt_inputs(self, rows: Tensor) -> dict[str, Tensor]:
        def compute(missing: Tensor) -> dict[str, Tensor]:
            assert self.prompt_inputs is not None
            missing = missing if self._prompt_rows is None else self._prompt_rows[missing]
            original = self.windows.original_look_back(missing) if self.prompts_read_original else {}
            with torch.no_grad():
                return self.prompt_inputs(self.windows.look_back_on_cpu(missing), **original)

        assert self._store is not None
        device = self.windows.device
        multiple = 1 if device.type == "cpu" else GPU_MULTIPLE
        inputs = cut_prompts(self._store.get(rows, compute), multiple=multiple)
        return {name: prepared_for(tensor, device) for name, tensor in inputs.items()}

    def _batch(
        self, rows: Tensor, num_global_rows: int, inputs: dict[str, Tensor], *, with_features: bool = True
    ) -> Batch:
        batch = self.windows[rows]
        on_device = {name: tensor.to(batch.look_back.device, non_blocking=True) for name, tensor in inputs.items()}
        batch = replace(batch, inputs=batch.inputs | on_device, num_global_rows=num_global_rows)
        return replace(batch, inputs=self.features(batch)) if self.features and with_features else batch


def prefetch(items: Iterable[Item], *, depth: int = 4) -> Iterator[Item]:
    """Iterate over `items`, computing up to `depth` of them ahead in a background thread.

    An exception in the thread is raised again in the consumer; the thread ends if the consumer stops early.
    """
    ahead: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put(_END)
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (made := ahead.get()) is not _END:
            item, error = made
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()
