"""Errors are sums over elements: no batch, order or process counts more than another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from utils.metrics import MAE, MSE, Evaluated, MetricSet

NUM_WINDOWS, NUM_CHANNELS, PRED_LEN = 5, 3, 4


def forecasts(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_WINDOWS, PRED_LEN, NUM_CHANNELS)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for _ in range(2))  # pyright: ignore


def metrics_of(forecast: torch.Tensor, target: torch.Tensor, batches: list[list[int]]) -> MetricSet:
    kinds = (MSE, MAE)
    metrics = MetricSet(kind(num_windows=NUM_WINDOWS, num_channels=NUM_CHANNELS, pred_len=PRED_LEN) for kind in kinds)
    for windows in batches:
        window = torch.tensor(windows)[:, None].expand(-1, NUM_CHANNELS)
        channel = torch.arange(NUM_CHANNELS).expand(len(windows), -1)
        metrics.update(Evaluated(forecast[windows], target[windows], window, channel))
    return metrics


def summary_of(metrics: MetricSet, scale: torch.Tensor | None = None) -> dict[str, Any]:
    scale = torch.ones(NUM_CHANNELS) if scale is None else scale
    return metrics.summary(columns=["a", "b", "c"], scale=scale.tolist())


def test_errors_are_the_means_over_all_elements():
    forecast, target = forecasts()
    metrics = metrics_of(forecast, target, [[0, 1, 2, 3, 4]])
    error = forecast.double() - target.double()
    values = {"mse": error.square().mean().item(), "mae": error.abs().mean().item()}
    assert metrics.values() == pytest.approx(values, rel=1e-12)
    found = summary_of(metrics)
    assert (found["num_windows"], found["num_rows"]) == (NUM_WINDOWS, NUM_WINDOWS * NUM_CHANNELS)


@pytest.mark.parametrize("batches", [[[4], [0, 1, 2, 3]], [[0], [1], [2], [3], [4]], [[4, 3, 2], [1, 0]]])
def test_batches_and_their_order_do_not_matter(batches):
    forecast, target = forecasts()
    whole, parts = metrics_of(forecast, target, [[0, 1, 2, 3, 4]]), metrics_of(forecast, target, batches)
    assert parts.values() == pytest.approx(whole.values(), rel=1e-12)
    torch.testing.assert_close(parts.window_values(), whole.window_values())


def test_errors_by_window_are_those_of_each_window_alone():
    forecast, target = forecasts()
    found = metrics_of(forecast, target, [[3, 1], [0, 2, 4]]).window_values()
    error = forecast.double() - target.double()
    torch.testing.assert_close(found["mse"], error.square().mean(dim=(1, 2)).float())
    torch.testing.assert_close(found["mae"], error.abs().mean(dim=(1, 2)).float())


def test_the_sum_over_ranks_is_the_whole():
    forecast, target = forecasts()
    whole = metrics_of(forecast, target, [[0, 1, 2, 3, 4]])
    first, second = metrics_of(forecast, target, [[0, 1, 2]]), metrics_of(forecast, target, [[3, 4]])
    others = iter([value for metric in second.metrics for value in vars(metric).values()])
    first.reduce(lambda value: value + next(others))
    assert first.values() == pytest.approx(whole.values(), rel=1e-12)
    assert summary_of(first)["num_windows"] == NUM_WINDOWS


def test_the_summary_names_the_measures_and_joins_their_entries():
    forecast, target = forecasts()
    found = summary_of(metrics_of(forecast, target, [[0, 1, 2, 3, 4]]))
    assert found["measures"] == ["mse", "mae"]
    entries = {"mse", "mae", "mse_original", "mae_original"}
    assert set(found["per_channel"]) == entries | {"columns"}
    assert set(found["per_step"]) == entries
    assert set(found) == entries | {"measures", "num_windows", "num_rows", "per_channel", "per_step"}


def test_original_units_are_the_errors_times_the_scale_of_their_channel():
    forecast, target = forecasts()
    scale, mean = torch.tensor([2.0, 0.5, 30.0]).double(), torch.tensor([5.0, -1.0, 0.0]).double()
    found = summary_of(metrics_of(forecast, target, [[0, 1, 2, 3, 4]]), scale)
    error = (forecast.double() * scale + mean) - (target.double() * scale + mean)
    assert found["mse_original"] == pytest.approx(error.square().mean().item(), rel=1e-9)
    assert found["per_channel"]["mae_original"] == pytest.approx(error.abs().mean(dim=(0, 1)).tolist(), rel=1e-9)
    assert found["per_step"]["mae_original"] == pytest.approx(error.abs().mean(dim=(0, 2)).tolist(), rel=1e-9)
    assert found["per_channel"]["columns"] == ["a", "b", "c"]


def test_bfloat16_values_are_summed_in_float64():
    forecast, target = forecasts(torch.bfloat16)
    metrics = metrics_of(forecast, target, [[0, 1, 2, 3, 4]])
    assert {value.dtype for metric in metrics.metrics for value in vars(metric).values()} == {torch.float64}
    assert metrics.values()["mse"] == (forecast.double() - target.double()).square().mean().item()


def test_forecasts_of_1e30_have_finite_errors():
    forecast, target = forecasts()
    assert metrics_of(forecast * 1e30, target, [[0, 1, 2, 3, 4]]).values()["mse"] < float("inf")


def test_forecasts_that_are_no_numbers_have_no_errors():
    forecast, target = forecasts()
    forecast[1, 2, 1] = float("nan")
    with pytest.raises(FloatingPointError, match="the forecasts of b are not finite numbers"):
        summary_of(metrics_of(forecast, target, [[0, 1, 2, 3, 4]]))
