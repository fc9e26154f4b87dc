"""When to stop: after `patience` epochs without a better validation error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


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
        counts = [record[name] for name in ("patience", "best_epoch", "epochs_without_improvement")]
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError(f"early stopping has the counts {counts}")
        if record["best_epoch"] + record["epochs_without_improvement"] != num_epochs:
            raise ValueError(f"early stopping has the counts {counts} after {num_epochs} epochs")
        best = record["best"]
        if (best is None) != (num_epochs == 0) or not isinstance(best, float | None):
            raise ValueError(f"the best validation error is {best!r} after {num_epochs} epochs")
        return cls(**record)

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
