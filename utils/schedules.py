"""Learning-rate schedules. `--learning_rate` is the peak rate as it is used; nothing divides it behind the scenes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, pi

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from utils.records import check_alike

COSINE_FLOOR = 1e-8


def halving(epoch: int) -> float:
    """Epochs 1 and 2 at the peak, then half of it again every epoch (`epoch` counts from 0)."""
    return 0.5 ** max(epoch - 1, 0)


def cosine(epoch: int, *, half_period: int, floor: float) -> float:
    """From 1 down to `floor` after `half_period` epochs; like the published cosine it turns upward again after that."""
    return floor + (1 - floor) * (1 + cos(pi * epoch / half_period)) / 2


class Schedule:
    """A learning-rate scheduler that knows whether it advances by step or by epoch.

    Groups marked `scheduled=False` keep their rate. `one_cycle` is torch's OneCycleLR over all steps (20 % warm-up from
    1/25 of the peak, Adam's first beta cycling 0.95, 0.85, 0.95).
    """

    def __init__(
        self,
        name: str,
        optimizer: torch.optim.Optimizer,
        *,
        steps_per_epoch: int,
        num_epochs: int,
        cosine_epochs: int,
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
                _factor(name, group["lr"], cosine_epochs) if group["scheduled"] else _constant
                for group in optimizer.param_groups
            ]
            self.scheduler = LambdaLR(optimizer, factors)

    def after_step(self) -> None:
        """To be called after each optimiser step."""
        if self.by_step:
            self.scheduler.step()

    def after_epoch(self) -> None:
        """To be called after each epoch."""
        if not self.by_step:
            self.scheduler.step()

    def state(self) -> dict:
        """JSON values that `restore` takes back."""
        kept = self.scheduler.state_dict()
        return {key: value for key, value in kept.items() if key not in ("lr_lambdas", "_anneal_func_type")}

    def restore(self, state: dict) -> None:
        """Puts back what `state` returned; a ValueError says what in it cannot be."""
        check_alike(state, self.state(), "the schedule's state")
        self.scheduler.load_state_dict({**self.scheduler.state_dict(), **state})


def _constant(epoch: int) -> float:  # noqa: ARG001
    return 1.0


def _factor(name: str, peak: float, cosine_epochs: int) -> Callable[[int], float]:
    factors: dict[str, Callable[[int], float]] = {
        "constant": _constant,
        "halving": halving,
        "cosine": partial(cosine, half_period=cosine_epochs, floor=COSINE_FLOOR / peak if peak else 0.0),
    }
    return factors[name]


SCHEDULES = ("halving", "one_cycle", "cosine", "constant")
