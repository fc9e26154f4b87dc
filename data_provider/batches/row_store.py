"""Row store: a cache of tensors per row, within a memory budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.transfer import copied_to

Compute = Callable[[Tensor], dict[str, Tensor]]

ROWS_MOVED_AT_ONCE = 2**16
# torch cannot index these types, so they are stored as a type of the same width.
_INDEXABLE = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


@dataclass
class _Column:
    """Storage of one named tensor in an indexable dtype, and the width (second axis) of each row."""

    values: Tensor
    widths: Tensor
    dtype: torch.dtype


class RowStore:
    """Caches tensors by row number, for as many of the first rows as fit into `budget`; the rest is recomputed.

    Tensors have one entry per row on their first axis. Their second axis may differ in length between rows: `get` pads
    with zeros to the longest of the rows asked for. Thread-safe.
    """

    def __init__(self, num_rows: int, *, budget: MemoryBudget, device: torch.device | str = "cpu") -> None:
        self.num_rows, self.budget, self.device = num_rows, budget, device
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Remove all rows."""
        with self._lock:
            self._columns: dict[str, _Column] | None = None
            self._is_kept = torch.zeros(self.num_rows, dtype=torch.bool)
            self._capacity = self.num_rows
            self.budget.hold(self, 0)

    def is_kept(self, row: int) -> bool:
        """Whether this row is in the store."""
        return bool(self._is_kept[row])

    def get(self, rows: Int64[Tensor, "row"], compute: Compute) -> dict[str, Tensor]:
        """The tensors of these rows, in their order; `compute` is called with the rows that are not in the store."""
        with self._lock:
            missing = ~self._is_kept[rows]
            if not missing.any():
                return self._read(rows)
            fresh = {name: tensor.detach().to(self.device) for name, tensor in compute(rows[missing]).items()}
            if not fresh:
                return {}
            _check(fresh, num_rows=int(missing.sum()))
            self._keep(rows[missing], fresh)
            if missing.all():
                return fresh
            return _merge(self._read(rows[~missing]), fresh, missing)

    def _keep(self, rows: Tensor, fresh: dict[str, Tensor]) -> None:
        if self._columns is None:
            self._columns = {name: self._allocate(tensor) for name, tensor in fresh.items()}
        else:
            self._grow(fresh)
        self._fit_into_budget()
        fits = rows < self._capacity
        kept = rows[fits]
        if len(kept) == 0:
            return
        for name, tensor in fresh.items():
            column = self._columns[name]
            values = _as_indexable(tensor)[fits]
            if tensor.ndim > 1:
                _write(column.values, kept, values)
                column.widths[kept] = values.shape[1]
            else:
                column.values[kept] = values
        self._is_kept[kept] = True

    def _allocate(self, tensor: Tensor) -> _Column:
        bytes_per_row = max(1, tensor[:1].numel() * tensor.element_size())
        num_rows = min(self._capacity, self.budget.open_to(self) // bytes_per_row)
        dtype = _INDEXABLE.get(tensor.dtype, tensor.dtype)
        return _Column(
            torch.empty(num_rows, *tensor.shape[1:], dtype=dtype, device=self.device),
            torch.empty(num_rows if tensor.ndim > 1 else 0, dtype=torch.int32),
            tensor.dtype,
        )

    def _grow(self, fresh: dict[str, Tensor]) -> None:
        assert self._columns is not None
        for name, tensor in fresh.items():
            values = self._columns[name].values
            if tensor.ndim > 1 and tensor.shape[1] > values.shape[1]:
                # Grow by at least an eighth, so that ever longer prompts do not copy the storage each time.
                width = max(tensor.shape[1], values.shape[1] + values.shape[1] // 8)
                self._columns[name].values = self._moved(values, len(values), width)

    def _fit_into_budget(self) -> None:
        """Drop the last rows if the columns have become too wide for the budget."""
        assert self._columns is not None
        bytes_per_row = sum(
            column.values.element_size() * column.values.shape[1:].numel() for column in self._columns.values()
        )
        shortest = min(len(column.values) for column in self._columns.values())
        capacity = min(self._capacity, shortest, self.budget.open_to(self) // max(1, bytes_per_row))
        self._is_kept[capacity:] = False
        for column in self._columns.values():
            if len(column.values) > capacity:
                column.values = self._moved(column.values, capacity, *column.values.shape[1:2])
                column.widths = column.widths[:capacity].clone()
        self._capacity = capacity
        self.budget.hold(self, capacity * bytes_per_row)

    def _moved(self, values: Tensor, num_rows: int, *width: int) -> Tensor:
        """The stored rows in new storage of another size; only their memory is touched."""
        moved = values.new_empty(num_rows, *width, *values.shape[1 + len(width) :])
        rows = self._is_kept[:num_rows].nonzero()[:, 0]
        for part in rows.split(ROWS_MOVED_AT_ONCE):
            if width:
                _write(moved, part, values[part])
            else:
                moved[part] = values[part]
        return moved

    def _read(self, rows: Tensor) -> dict[str, Tensor]:
        assert self._columns is not None
        result = {}
        for name, column in self._columns.items():
            values = column.values[copied_to(rows, column.values.device)]
            if values.ndim > 1:
                values = values[:, : int(column.widths[rows].max())]
            result[name] = values.contiguous().view(column.dtype)
        return result


def _write(storage: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write `values` to these rows of `storage`, padded with zeros."""
    storage[rows, : values.shape[1]] = values
    storage[rows, values.shape[1] :] = 0


def _check(fresh: dict[str, Tensor], *, num_rows: int) -> None:
    for name, tensor in fresh.items():
        if tensor.ndim == 0 or len(tensor) != num_rows:
            raise ValueError(f"the constant {name} must have one entry per row ({num_rows}), got {list(tensor.shape)}")


def _as_indexable(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(_INDEXABLE.get(tensor.dtype, tensor.dtype))


def _merge(kept: dict[str, Tensor], fresh: dict[str, Tensor], is_fresh: Tensor) -> dict[str, Tensor]:
    """Stored and newly computed rows in the requested order, padded with zeros to the wider of the two."""
    merged = {}
    for name, old in kept.items():
        dtype, new = old.dtype, _as_indexable(fresh[name])
        old = _as_indexable(old)
        rest = [max(old.shape[1], new.shape[1]), *old.shape[2:]] if old.ndim > 1 else []
        both = old.new_zeros(len(is_fresh), *rest)
        for part, where in ((old, ~is_fresh), (new, is_fresh)):
            if old.ndim > 1:
                padded = part.new_zeros(len(part), *rest)
                padded[:, : part.shape[1]] = part
                part = padded
            both[where] = part
        merged[name] = both.view(dtype)
    return merged
