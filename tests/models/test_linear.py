"""DLinear and NLinear against their equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.base import ForecastSpec
from models.dlinear import DLinear, DLinearConfig, moving_average
from models.nlinear import NLinear, NLinearConfig

SHAPE = ForecastSpec(seq_len=12, pred_len=5, num_channels=2)


@pytest.fixture
def look_back() -> torch.Tensor:
    return torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_moving_average_is_the_mean_of_the_neighbours_with_the_ends_repeated():
    series = torch.tensor([[[1.0, 2.0, 6.0, 3.0]]])
    expected = torch.tensor([[[(1 + 1 + 1 + 2 + 6) / 5, (1 + 1 + 2 + 6 + 3) / 5, (1 + 2 + 6 + 3 + 3) / 5, 18 / 5]]])
    expected[0, 0, 3] = (2 + 6 + 3 + 3 + 3) / 5
    torch.testing.assert_close(moving_average(series, 5), expected)


def test_dlinear_is_its_equation(look_back):
    model = DLinear.build(DLinearConfig(moving_avg=3), SHAPE)
    weights = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    series = look_back.numpy().transpose(0, 2, 1)
    padded = np.pad(series, ((0, 0), (0, 0), (1, 1)), mode="edge")
    trend = (padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3
    expected = trend @ weights["trend.weight"].T + weights["trend.bias"]
    expected += (series - trend) @ weights["remainder.weight"].T + weights["remainder.bias"]
    np.testing.assert_allclose(model(look_back).values.detach().numpy(), expected.transpose(0, 2, 1), atol=1e-5)


def test_a_constant_series_has_no_remainder():
    model = DLinear.build(DLinearConfig(), SHAPE)
    constant = torch.full((1, 12, 2), 3.0)
    expected = model.trend.weight.sum(dim=1) * 3 + model.trend.bias + model.remainder.bias
    torch.testing.assert_close(model(constant).values[0, :, 0], expected)


def test_an_even_moving_average_is_refused_by_its_flag():
    with pytest.raises(ValueError, match=r"--moving_avg must be odd and positive.*got 24"):
        DLinearConfig(moving_avg=24)


def test_nlinear_is_its_equation(look_back):
    model = NLinear.build(NLinearConfig(), SHAPE)
    expected = torch.empty(3, 5, 2)
    for channel in range(2):
        last = look_back[:, -1:, channel]
        expected[:, :, channel] = (
            (look_back[:, :, channel] - last) @ model.linear.weight.T + model.linear.bias + last
        ).detach()
    torch.testing.assert_close(model(look_back).values.detach(), expected)


def test_nlinear_moves_with_the_level_of_the_look_back(look_back):
    model = NLinear.build(NLinearConfig(), SHAPE)
    torch.testing.assert_close(model(look_back + 7).values, model(look_back).values + 7, atol=1e-4, rtol=0)


def test_parameters_are_two_maps_for_dlinear_and_one_for_nlinear():
    one_map = 12 * 5 + 5
    dlinear = {name: p.numel() for name, p in DLinear.build(DLinearConfig(), SHAPE).named_parameters()}
    nlinear = {name: p.numel() for name, p in NLinear.build(NLinearConfig(), SHAPE).named_parameters()}
    assert set(dlinear) == {"trend.weight", "trend.bias", "remainder.weight", "remainder.bias"}
    assert set(nlinear) == {"linear.weight", "linear.bias"}
    assert sum(dlinear.values()) == 2 * one_map
    assert sum(nlinear.values()) == one_map
