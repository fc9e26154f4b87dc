"""Learning-rate schedules and early stopping.

`--learning_rate` is the peak rate of a schedule, exactly as given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import cos, isfinite, pi
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

COSINE_FLOOR = 1e-8
# More epochs or steps than any training has.
LARGEST_COUNT = 2**53


def halving(epoch: int) -> float:
    """Factor of the peak rate: 1 in the first two epochs, then halved every epoch (`epoch` counts from 0)."""
    return 0.5 ** max(epoch - 1, 0)


def cosine(epoch: int, *, half_period: float, floor: float) -> float:
    """Factor of the peak rate: from 1 down to `floor` in `half_period` epochs, then up again.

    As in the published code of CALF (`half_period` 20) and BALM-TSF on Weather (5, in trainings of 10 and 15 epochs).
    """
    return floor + (1 - floor) * (1 + cos(pi * epoch / half_period)) / 2


class Schedule:
    """A torch learning-rate scheduler, stepped after each optimiser step (`one_cycle`) or after each epoch (others).

    Parameter groups with `scheduled=False` keep their rate; `cosine_floor` is the lowest rate of a group's cosine.
    `one_cycle` is torch's OneCycleLR over all steps: 20 % warm-up from 1/25 of the peak, while Adam's beta1 goes from
    0.95 to 0.85 and back.
    """

    def __init__(
        self,
        name: str,
        optimizer: torch.optim.Optimizer,
        *,
        steps_per_epoch: int,
        num_epochs: int,
        cosine_epochs: float,
    ):
        self.by_step = name == "one_cycle"
        self.scheduler: LRScheduler
        if self.by_step:
            if not all(group["scheduled"] for group in optimizer.param_groups):
                raise ValueError(
                    "--lradj one_cycle cannot keep a group of parameters at a constant rate, as this model asks: "
                    "use cosine, halving or constant"
                )
            self.scheduler = OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=steps_per_epoch * num_epochs,
                pct_start=0.2,
            )
        else:
            factors = [
                _factor(name, group["lr"], cosine_epochs, group.get("cosine_floor", COSINE_FLOOR))
                if group["scheduled"]
                else _constant
                for group in optimizer.param_groups
            ]
            self.scheduler = LambdaLR(optimizer, factors)

    def after_step(self) -> None:
        """Call after each optimiser step."""
        if self.by_step:
            self.scheduler.step()

    def after_epoch(self) -> None:
        """Call after each epoch."""
        if not self.by_step:
            self.scheduler.step()

    def state(self) -> dict:
        """The state as JSON values, for `restore`."""
        kept = self.scheduler.state_dict()
        return {key: value for key, value in kept.items() if key not in ("lr_lambdas", "_anneal_func_type")}

    def restore(self, state: dict) -> None:
        """Restore what `state` returned. Raises ValueError if that was another schedule."""
        own = self.state()
        if set(state) != set(own) or not _is_alike(state["base_lrs"], own["base_lrs"]):
            raise ValueError("the schedule's state is that of another --lradj or of other parameter groups")
        wrong = next((name for name, value in own.items() if not _is_alike(state[name], value)), None)
        if wrong is not None:
            raise ValueError(f"the schedule's state has {wrong} {str(state[wrong])[:60]}, which is of another kind")
        self.scheduler.load_state_dict({**self.scheduler.state_dict(), **state})


def _is_alike(found: Any, own: Any) -> bool:
    """Whether a value of a saved state is of the kind of our own: a number, a list as long, the same entries."""
    if isinstance(own, dict):
        return isinstance(found, dict) and set(found) == set(own) and all(_is_alike(found[k], own[k]) for k in own)
    if isinstance(own, list | tuple):
        is_list = isinstance(found, list | tuple) and len(found) == len(own)
        return is_list and all(map(_is_alike, found, own))
    if isinstance(own, float):
        return type(found) in (int, float) and isfinite(found)
    if type(own) is int:
        return type(found) is int and 0 <= found <= LARGEST_COUNT
    return type(found) is type(own)


def _constant(epoch: int) -> float:  # noqa: ARG001
    return 1.0


def _factor(name: str, peak: float, cosine_epochs: float, cosine_floor: float) -> Callable[[int], float]:
    factors: dict[str, Callable[[int], float]] = {
        "constant": _constant,
        "halving": halving,
        "cosine": partial(cosine, half_period=cosine_epochs, floor=cosine_floor / peak if peak else 0.0),
    }
    return factors[name]


SCHEDULES = ("halving", "one_cycle", "cosine", "constant")


@dataclass
class EarlyStopping:
    """Tracks the best validation error; stops after `patience` epochs without a better one (epochs count from 1)."""

    patience: int
    best: float | None = None
    best_epoch: int = 0
    epochs_without_improvement: int = 0

    def update(self, error: float, *, epoch: int) -> bool:
        """Record the error of `epoch`. Returns whether it is the best so far."""
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
