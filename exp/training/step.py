"""A training step, and the check for losses that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_provider.windows import Batch
from models.base import Forecast, Forecaster
from utils.intervals.quantiles import PINBALL, pinball
from utils.losses import LOSSES
from utils.schedules import Schedule

SUM = "loss"
NUM_SHOWN_ROWS = 16
ADVICE = (
    "lower --learning_rate, try --precision fp32, or look at these rows in the data; the last good state is kept in "
    "the run folder"
)


@dataclass
class TrainingStep:
    """Forward pass, losses, backward pass and optimizer step on one batch.

    `forward` is the model wrapped for precision and ranks; `keep_targets` selects the evaluated channels of a forecast.
    The total loss is the sum of `loss_name` (of `utils.losses`, or pinball, times the forecast's weight) and the
    model's auxiliary losses. A gradient longer than `max_gradient_norm`, or else than that of the model, is scaled
    down to it.
    """

    model: Forecaster
    optimizer: torch.optim.Optimizer
    loss_name: str
    forward: Callable[..., Forecast]
    keep_targets: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor], None] = Tensor.backward
    schedule: Schedule | None = None
    num_processes: int = 1
    max_gradient_norm: float | None = None

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Train on `batch`. Returns each loss by name and their sum as `loss`, detached."""
        losses = self.backpropagate(batch)
        self.update()
        return losses

    def backpropagate(self, batch: Batch) -> dict[str, Tensor]:
        """Forward and backward pass: the losses as `__call__` returns them; gradients are those of this batch."""
        losses = self._losses(batch)
        total = torch.stack([value.float() for value in losses.values()]).sum()
        # Ranks may have unequal shares of the last global batch: each row must have the same weight in the gradient.
        weight = len(batch.rows) * self.num_processes / batch.num_global_rows
        self.optimizer.zero_grad()
        self.backward(total * weight if weight != 1 else total)
        return {name: value.detach().float() for name, value in losses.items()} | {SUM: total.detach()}

    def update(self) -> None:
        """Scale the gradient, step the optimizer and the schedule."""
        max_norm = self.max_gradient_norm or self.model.max_gradient_norm
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.after_step()

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        target = {"target": batch.target} if self.model.losses_read_target else {}
        forecast = self.forward(batch.look_back, **batch.inputs, **target)
        values, quantiles = forecast.on_targets(self.keep_targets)
        if self.loss_name == PINBALL:
            assert quantiles is not None, "only a model with quantiles is trained by their loss"
            criterion = pinball(quantiles, batch.target, self.model.quantiles).mean()
        else:
            criterion = LOSSES[self.loss_name](values, batch.target)
        return {self.loss_name: criterion * forecast.criterion_weight, **forecast.auxiliary_losses}


def loss_of(model: Forecaster, chosen: str = "default") -> str:
    """The name of the training loss for `--loss`: by default that of the model's paper, pinball for quantiles.

    Raises ValueError for a loss that the model cannot be trained by.
    """
    if model.quantiles and chosen not in ("default", PINBALL):
        raise ValueError(f"--loss {chosen} trains no quantiles: leave it away, or leave --quantiles away")
    if chosen == PINBALL and not model.quantiles:
        raise ValueError("--loss pinball is for quantiles: give --quantiles such as 0.1,0.5,0.9")
    if model.quantiles:
        return PINBALL
    return model.default_loss if chosen == "default" else chosen


class _Unchecked(NamedTuple):
    epoch: int
    step: int
    rows: Tensor
    learning_rate: float
    losses: dict[str, Tensor]


@dataclass
class LossGuard:
    """Raises FloatingPointError for a loss that is not finite, naming the step, rows and learning rate.

    Losses are read every `steps_at_once` steps, all at once, because reading them makes the host wait for a GPU. `sums`
    are the sums of each loss over the rows of the steps checked so far, `last` is the total loss of the last of them.
    """

    steps_at_once: int
    sums: dict[str, float] = field(default_factory=dict)
    last: float = math.nan
    unchecked: list[_Unchecked] = field(default_factory=list)

    def watch(self, losses: dict[str, Tensor], *, epoch: int, step: int, rows: Tensor, learning_rate: float) -> None:
        """Add the losses of a step (`epoch` and `step` count from 1)."""
        self.unchecked.append(_Unchecked(epoch, step, rows, learning_rate, losses))
        if len(self.unchecked) >= self.steps_at_once:
            self.check()

    def check(self) -> None:
        """Check all steps added since the last check, and add their losses to `sums`."""
        unchecked, self.unchecked = self.unchecked, []
        if not unchecked:
            return
        read = iter(torch.stack([value for step in unchecked for value in step.losses.values()]).cpu().numpy())
        for step in unchecked:
            losses = {name: next(read) for name in step.losses}
            _check_finite(step, losses)
            for name, value in losses.items():
                # The product in float32 and the sum in float64, as the histories of earlier versions have it.
                self.sums[name] = self.sums.get(name, 0.0) + float(value * np.float32(len(step.rows)))
            self.last = float(losses[SUM])


def _check_finite(step: _Unchecked, losses: dict[str, np.float32]) -> None:
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        terms = ", ".join(name for name in broken if name != SUM) or SUM
        shown = step.rows[:NUM_SHOWN_ROWS].tolist()
        more = f" and {len(step.rows) - len(shown)} more" if len(step.rows) > len(shown) else ""
        raise FloatingPointError(
            f"the loss is no longer a finite number in epoch {step.epoch}, step {step.step}: term {terms}, "
            f"learning rate {step.learning_rate:g}, rows {shown}{more}: {ADVICE}"
        )
