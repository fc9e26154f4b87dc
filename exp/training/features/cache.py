"""Cache of a model's features that stay constant during training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.batches.row_store import RowStore
from data_provider.transfer import copied_to
from data_provider.windows import Batch
from exp.training.features.rows import features_alone, joined
from models.base import Forecaster

if TYPE_CHECKING:
    from exp.training.features.store import TextStore


class FeatureCache:
    """Replaces the inputs of a batch by the model's cached features, while those are constant.

    The features of a row are the same to the last digit whatever else is in its batch or in the cache.

    Features are cached per row on `device` within a memory budget; rows beyond it are recomputed. Rows with equal
    inputs (equal prompts) are computed once. With `open_store` they are taken from a store on disk, which `before`
    fills first.
    """

    def __init__(
        self, model: Forecaster, *, num_rows: int, memory: MemoryBudget, device: torch.device | str = "cpu"
    ) -> None:
        self.model = model
        self.text_store: TextStore | None = None
        self.open_store: Callable[[dict[str, Any]], TextStore] | None = None
        self.before: Callable[[TextStore], None] | None = None
        self.store = RowStore(num_rows=num_rows, budget=memory, device=device)
        self.cache_key: int | None = None
        self._first_row: dict[bytes, int] = {}

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Keyword arguments for `forward`, on the device of the batch."""
        if not batch.inputs or not self.model.features_are_constant:
            return batch.inputs
        if self.cache_key != self.model.cache_key:
            self.store.clear()
            self._first_row.clear()
            self.cache_key = self.model.cache_key
            self._open_text_store()
        features = self.store.get(batch.rows, lambda missing: self._features(batch, missing))
        return {name: copied_to(value, batch.look_back.device) for name, value in features.items()}

    def _features(self, batch: Batch, missing: Tensor) -> dict[str, Tensor]:
        """Features of the rows `missing` of a batch; equal inputs are computed once, or copied from a cached row."""
        chosen = torch.isin(batch.rows, missing)
        inputs = {name: value[chosen.to(value.device)] for name, value in batch.inputs.items()}
        digests = digests_of(inputs)
        known: dict[bytes, int] = {}
        new: dict[bytes, int] = {}
        for index, digest in enumerate(digests):
            row = self._first_row.get(digest)
            if row is not None and self.store.is_kept(row):
                known[digest] = row
            else:
                new.setdefault(digest, index)
        parts: list[dict[str, Tensor]] = []
        if new:
            index = torch.tensor(list(new.values()))
            different = {name: value[index.to(value.device)] for name, value in inputs.items()}
            parts.append(self._computed(different, list(new)))
        if known:
            parts.append(self.store.get(torch.tensor(list(known.values())), _never))
        position = {digest: place for place, digest in enumerate([*new, *known])}
        order = torch.tensor([position[digest] for digest in digests])
        for digest, index in new.items():
            self._first_row[digest] = int(missing[index])
        return {name: joined([part[name].cpu() for part in parts])[order] for name in parts[0]}

    def _open_text_store(self) -> None:
        """Open the store for what the features depend on now, and fill it with the texts of the split."""
        self.text_store = self.open_store(self.model.features_identity()) if self.open_store else None
        if self.text_store is not None and self.before is not None:
            self.before(self.text_store)

    def _computed(self, inputs: dict[str, Tensor], digests: list[bytes]) -> dict[str, Tensor]:
        """Features of rows: from the text store where they are there, else by the model."""
        if self.text_store is None:
            return features_alone(self.model, inputs)
        if not all(digest in self.text_store for digest in digests):
            # Another process may have read its share of the split meanwhile.
            self.text_store.look_again()
        stored = torch.tensor([digest in self.text_store for digest in digests])
        if stored.all():
            return self.text_store.read(digests)
        fresh = features_alone(self.model, {name: value[~stored.to(value.device)] for name, value in inputs.items()})
        if not stored.any():
            return fresh
        old = self.text_store.read([digest for digest, is_stored in zip(digests, stored, strict=True) if is_stored])
        order = torch.argsort(torch.cat([stored.nonzero()[:, 0], (~stored).nonzero()[:, 0]]))
        return {name: torch.cat([old[name], fresh[name].cpu()])[order] for name in old}


def digests_of(inputs: dict[str, Tensor]) -> list[bytes]:
    """A digest of the inputs of each row, independent of their padding."""
    columns = [value.cpu().contiguous().numpy() for _, value in sorted(inputs.items())]
    return [
        hashlib.blake2b(b"|".join(column[row].tobytes().rstrip(b"\0") for column in columns), digest_size=16).digest()
        for row in range(len(columns[0]))
    ]


def _never(missing: Tensor) -> dict[str, Tensor]:
    raise AssertionError(f"rows {missing.tolist()} are missing from the cache")
