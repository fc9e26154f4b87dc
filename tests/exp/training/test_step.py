"""One training step: what is added to the loss, how rows weigh, and who may see the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data_provider.windows import Batch
from exp.training.step import LossGuard, TrainingStep
from models.base import Forecast, Forecaster


@dataclass(frozen=True)
class _Config:
    pass


class Level(Forecaster):
    """Forecasts one learnt number; its auxiliary loss is 3 times the distance to the mean target, if it sees that."""

    Config = _Config

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(1.0))
        self.given: list[dict[str, Any]] = []

    def forward(self, look_back: Tensor, **inputs: Tensor) -> Forecast:
        self.given.append(inputs)
        values = self.level.expand(len(look_back), 2, 1)
        auxiliary = {"distance": 3 * (self.level - inputs["target"].mean()).abs()} if "target" in inputs else {}
        return Forecast(values, auxiliary)


class LevelWithTarget(Level):
    losses_read_target = True


def batch(num_rows: int = 2, *, num_global_rows: int = 2) -> Batch:
    target = torch.full((num_rows, 2, 1), 5.0)
    return Batch(torch.arange(num_rows), torch.zeros(num_rows, 4, 1), target, {}, num_global_rows)


def step_of(model: Level, *, num_processes: int = 1) -> TrainingStep:
    return TrainingStep(
        model, torch.optim.SGD(model.parameters(), lr=0.1), "mse", forward=model, keep_targets=lambda values: values,
        num_processes=num_processes,
    )  # fmt: skip


def test_an_auxiliary_loss_sees_the_target_only_where_the_model_asks_for_it():
    plain, reading = Level(), LevelWithTarget()
    assert {name: value.item() for name, value in step_of(plain)(batch()).items()} == {"mse": 16.0, "loss": 16.0}
    assert plain.given == [{}]
    losses = {name: value.item() for name, value in step_of(reading)(batch()).items()}
    assert losses == {"mse": 16.0, "distance": 12.0, "loss": 28.0}
    # The gradients are -8 (criterion) and -3 (auxiliary loss); the rate is 0.1.
    assert plain.level.item() == pytest.approx(1.8)
    assert reading.level.item() == pytest.approx(2.1)


def test_a_rank_with_fewer_rows_weighs_less():
    model = Level()
    step_of(model, num_processes=2)(batch(1, num_global_rows=3))
    assert model.level.grad is not None
    assert model.level.grad.item() == pytest.approx(-8 * 1 * 2 / 3)


def test_losses_are_checked_so_many_steps_at_a_time():
    guard = LossGuard(steps_at_once=2)
    losses = {"mse": torch.tensor(math.nan), "loss": torch.tensor(math.nan)}
    guard.watch(losses, epoch=1, step=7, rows=torch.arange(20), learning_rate=0.5)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 7: term mse, learning rate 0.5, rows .* and 4 more"):
        guard.watch({"loss": torch.tensor(1.0)}, epoch=1, step=8, rows=torch.arange(2), learning_rate=0.5)


@pytest.mark.parametrize(("most", "expected"), [(None, 8.0), (100.0, 8.0), (2.0, 2.0)])
def test_a_models_gradient_is_scaled_down_to_the_norm_that_it_says(most, expected):
    class Clipped(Level):
        max_gradient_norm = most  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    model = Clipped()
    step_of(model)(batch())
    assert model.level.item() == pytest.approx(1.0 + 0.1 * expected)
