"""What a model is given beside the look-back window: constants of the rows, or states computed from them once."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from data_provider.row_store import MemoryBudget, RowStore
from data_provider.windows import Batch
from models.base import Forecaster


class FeatureCache:
    """Keeps the states of a split's rows while the model says that they are constant, within a memory budget.

    Where they are not, the row constants are handed through. Rows with equal constants (equal prompts) share one
    computation. Rows beyond the budget are computed again each time.
    """

    def __init__(self, model: Forecaster, *, num_rows: int, budget: MemoryBudget):
        self.model = model
        self.store = RowStore(num_rows=num_rows, budget=budget)
        self.version: int | None = None
        self._first_row: dict[bytes, int] = {}

    def of(self, batch: Batch) -> dict[str, Tensor]:
        """Keyword arguments for `forward`, on the device of the batch."""
        if not self.model.needs_time_features:
            # The windows may have been made for another model than this one (a naive forecast beside it).
            batch = replace(batch, constants={k: v for k, v in batch.constants.items() if k != "time_features"})
        if not batch.constants or not self.model.features_are_constant:
            return batch.constants
        if self.version != self.model.cache_key:
            self.store.clear()
            self._first_row.clear()
            self.version = self.model.cache_key
        states = self.store.get(batch.rows, lambda missing: self._states(batch, missing))
        return {name: value.to(batch.look_back.device, non_blocking=True) for name, value in states.items()}

    def _states(self, batch: Batch, missing: Tensor) -> dict[str, Tensor]:
        """States of the batch's rows `missing`: each different one is computed once, or taken from an equal row."""
        chosen = torch.isin(batch.rows, missing)
        constants = {name: value[chosen.to(value.device)] for name, value in batch.constants.items()}
        keys = _keys(constants)
        known: dict[bytes, int] = {}
        new: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            row = self._first_row.get(key)
            if row is not None and self.store.is_kept(row):
                known[key] = row
            else:
                new.setdefault(key, index)
        parts: list[dict[str, Tensor]] = []
        if new:
            index = torch.tensor(list(new.values()))
            with torch.no_grad():
                parts.append(
                    self.model.cached_features(
                        **{name: value[index.to(value.device)] for name, value in constants.items()}
                    )
                )
        if known:
            parts.append(self.store.get(torch.tensor(list(known.values())), _never))
        position = {key: place for place, key in enumerate([*new, *known])}
        order = torch.tensor([position[key] for key in keys])
        for key, index in new.items():
            self._first_row[key] = int(missing[index])
        return {name: torch.cat([part[name].cpu() for part in parts])[order] for name in parts[0]}


def _keys(constants: dict[str, Tensor]) -> list[bytes]:
    """One key per row, the same for equal constants however wide the batch had padded them."""
    columns = [value.cpu().contiguous().numpy() for _, value in sorted(constants.items())]
    return [
        hashlib.blake2b(b"|".join(column[row].tobytes().rstrip(b"\0") for column in columns), digest_size=16).digest()
        for row in range(len(columns[0]))
    ]


def _never(missing: Tensor) -> dict[str, Tensor]:
    raise AssertionError(f"rows {missing.tolist()} were said to be kept")
