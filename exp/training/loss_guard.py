"""The watch over training losses: a loss that is no finite number ends the run with all that is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

NUM_SHOWN_ROWS = 16
SUM = "loss"
ADVICE = (
    "lower --learning_rate, try --precision fp32, or look at these rows in the data; the last good state is kept in "
    "the run folder"
)


class _Step(NamedTuple):
    epoch: int
    step: int
    rows: Tensor
    learning_rate: float
    losses: dict[str, Tensor]


@dataclass
class LossGuard:
    """Looks at losses `steps_at_once` steps at a time, so that on a GPU not every step has to wait for its numbers."""

    steps_at_once: int
    unchecked: list[_Step] = field(default_factory=list)

    def watch(self, losses: dict[str, Tensor], *, epoch: int, step: int, rows: Tensor, learning_rate: float) -> None:
        """Takes in the terms of a step (`epoch` and `step` from 1); a FloatingPointError reports the first bad one."""
        self.unchecked.append(_Step(epoch, step, rows, learning_rate, losses))
        if len(self.unchecked) >= self.steps_at_once:
            self.check()

    def check(self) -> None:
        """Looks at all that has not been looked at yet."""
        unchecked, self.unchecked = self.unchecked, []
        for step in unchecked:
            broken = [name for name, value in step.losses.items() if not math.isfinite(value.item())]
            if broken:
                terms = ", ".join(name for name in broken if name != SUM) or SUM
                shown = step.rows[:NUM_SHOWN_ROWS].tolist()
                more = f" and {len(step.rows) - len(shown)} more" if len(step.rows) > len(shown) else ""
                raise FloatingPointError(
                    f"the loss is no longer a finite number in epoch {step.epoch}, step {step.step}: term {terms}, "
                    f"learning rate {step.learning_rate:g}, rows {shown}{more}: {ADVICE}"
                )


def check_weights(tensors: dict[str, Tensor]) -> None:
    """A FloatingPointError names weights that are no finite numbers, so that they are never saved as a good state."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FloatingPointError(
                f"{name} is no longer finite although the loss was: lower --learning_rate; the last good state is kept "
                "in the run folder"
            )
