"""Errors are sums over elements: no batch, order or process counts more than another."""

from __future__ import annotations

import pytest
import torch

from utils.metrics import ErrorSums

NUM_WINDOWS, NUM_CHANNELS, PRED_LEN = 5, 3, 4


def forecasts(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_WINDOWS, PRED_LEN, NUM_CHANNELS)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for _ in range(2))  # pyright: ignore


def sums_of(forecast: torch.Tensor, target: torch.Tensor, batches: list[list[int]]) -> ErrorSums:
    sums = ErrorSums(num_windows=NUM_WINDOWS, num_channels=NUM_CHANNELS, pred_len=PRED_LEN)
    for windows in batches:
        window = torch.tensor(windows)[:, None].expand(-1, NUM_CHANNELS)
        channel = torch.arange(NUM_CHANNELS).expand(len(windows), -1)
        sums.update(forecast[windows], target[windows], window=window, channel=channel)
    return sums


def test_errors_are_the_means_over_all_elements():
    forecast, target = forecasts()
    sums = sums_of(forecast, target, [[0, 1, 2, 3, 4]])
    error = forecast.double() - target.double()
    assert sums.mse == pytest.approx(error.square().mean().item(), rel=1e-12)
    assert sums.mae == pytest.approx(error.abs().mean().item(), rel=1e-12)
    assert (sums.num_windows, sums.num_rows) == (NUM_WINDOWS, NUM_WINDOWS * NUM_CHANNELS)


@pytest.mark.parametrize("batches", [[[4], [0, 1, 2, 3]], [[0], [1], [2], [3], [4]], [[4, 3, 2], [1, 0]]])
def test_batches_and_their_order_do_not_matter(batches):
    forecast, target = forecasts()
    whole, parts = sums_of(forecast, target, [[0, 1, 2, 3, 4]]), sums_of(forecast, target, batches)
    assert parts.mse == pytest.approx(whole.mse, rel=1e-12)
    torch.testing.assert_close(parts.window_errors(), whole.window_errors())


def test_the_sum_over_processes_is_the_whole():
    forecast, target = forecasts()
    whole = sums_of(forecast, target, [[0, 1, 2, 3, 4]])
    first, second = sums_of(forecast, target, [[0, 1, 2]]), sums_of(forecast, target, [[3, 4]])
    others = iter(list(vars(second).values()))
    first.reduce(lambda value: value + next(others))
    assert first.mse == pytest.approx(whole.mse, rel=1e-12)
    assert first.num_windows == NUM_WINDOWS


def test_original_units_are_the_errors_times_the_scale_of_their_channel():
    forecast, target = forecasts()
    scale, mean = torch.tensor([2.0, 0.5, 30.0]).double(), torch.tensor([5.0, -1.0, 0.0]).double()
    found = sums_of(forecast, target, [[0, 1, 2, 3, 4]]).summary(columns=["a", "b", "c"], scale=scale.tolist())
    error = (forecast.double() * scale + mean) - (target.double() * scale + mean)
    assert found["mse_original"] == pytest.approx(error.square().mean().item(), rel=1e-9)
    assert found["per_channel"]["mae_original"] == pytest.approx(error.abs().mean(dim=(0, 1)).tolist(), rel=1e-9)
    assert found["per_step"]["mae_original"] == pytest.approx(error.abs().mean(dim=(0, 2)).tolist(), rel=1e-9)
    assert found["per_channel"]["columns"] == ["a", "b", "c"]


def test_bfloat16_values_are_summed_in_float64():
    forecast, target = forecasts(torch.bfloat16)
    sums = sums_of(forecast, target, [[0, 1, 2, 3, 4]])
    assert sums.squared.dtype == torch.float64
    assert sums.mse == (forecast.double() - target.double()).square().mean().item()


def test_forecasts_of_1e30_have_finite_errors():
    forecast, target = forecasts()
    assert sums_of(forecast * 1e30, target, [[0, 1, 2, 3, 4]]).mse < float("inf")


def test_forecasts_that_are_no_numbers_have_no_errors():
    forecast, target = forecasts()
    forecast[1, 2, 1] = float("nan")
    with pytest.raises(FloatingPointError, match="the forecasts of b are no finite numbers"):
        sums_of(forecast, target, [[0, 1, 2, 3, 4]]).summary(columns=["a", "b", "c"], scale=[1.0, 1.0, 1.0])
