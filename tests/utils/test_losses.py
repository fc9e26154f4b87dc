"""Training criteria against their formulas."""

from __future__ import annotations

import pytest
import torch

from utils.losses import LOSSES


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[1.0, -2.0], [0.0, 5.0]]), torch.tensor([[3.0, -2.5], [0.0, 5.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", (4 + 0.25) / 4),
        ("l1", (2 + 0.5) / 4),
        ("smooth_l1", (1.5 + 0.125) / 4),
        ("smape", 200 * (2 / 4 + 0.5 / 4.5) / 4),
    ],
)
def test_a_criterion_is_its_formula(name, expected):
    assert LOSSES[name](*pair()).item() == pytest.approx(expected)


def test_smape_of_two_zeros_is_zero_and_has_a_gradient():
    forecast = torch.zeros(3, requires_grad=True)
    loss = LOSSES["smape"](forecast, torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert forecast.grad is not None
    assert forecast.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_forecast_costs_nothing(name):
    assert LOSSES[name](pair()[0], pair()[0]).item() == 0
