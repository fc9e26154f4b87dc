"""When to stop: after `patience` epochs without a better validation error."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass
class EarlyStopping:
    """Remembers the best validation error (MSE, scaled units) and how many epochs have passed without a better one."""

    patience: int
    best: float = inf
    best_epoch: int = 0
    epochs_without_improvement: int = 0

    def update(self, error: float, *, epoch: int) -> bool:
        """Takes in the error of `epoch` (counted from 1) and returns whether it is the best so far."""
        improved = error < self.best
        if improved:
            self.best, self.best_epoch, self.epochs_without_improvement = error, epoch, 0
        else:
            self.epochs_without_improvement += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.epochs_without_improvement >= self.patience
