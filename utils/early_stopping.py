"""When to stop: after `patience` epochs without a better validation error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from utils.records import check_alike


@dataclass
class EarlyStopping:
    """Remembers the best validation error (None before the first) and how many epochs passed without a better one."""

    patience: int
    best: float | None = None
    best_epoch: int = 0
    epochs_without_improvement: int = 0

    @classmethod
    def of_record(cls, record: dict[str, Any], *, num_epochs: int) -> Self:
        """What `asdict` described after `num_epochs`; a ValueError says what cannot be."""
        like = cls(patience=0, best=0.0 if num_epochs else None)
        check_alike(record, asdict(like), "early stopping")
        found = cls(**record)
        if not 0 <= found.best_epoch == num_epochs - found.epochs_without_improvement <= num_epochs:
            raise ValueError(f"early stopping saw its best in epoch {found.best_epoch} of {num_epochs}")
        return found

    def update(self, error: float, *, epoch: int) -> bool:
        """Takes in the error of `epoch` (counted from 1) and returns whether it is the best so far."""
        improved = self.best is None or error < self.best
        if improved:
            self.best, self.best_epoch, self.epochs_without_improvement = error, epoch, 0
        else:
            self.epochs_without_improvement += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.epochs_without_improvement >= self.patience
