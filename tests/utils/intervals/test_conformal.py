"""Prediction intervals from validation errors: exact ranks, bounded memory, and the coverage that they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from utils.intervals.conformal import COARSE_LEVELS, LEVELS, AbsoluteErrors, Coverage, conformal_rank, kept_levels
from utils.metrics import Evaluated, Metric

WINDOWS, STEPS, CHANNELS = 40, 3, 2


def draw(num_windows: int = WINDOWS, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    forecast, target = torch.randn(2, num_windows, STEPS, CHANNELS, generator=generator)
    return forecast, target


def show(metric: Metric, forecast: Tensor, target: Tensor, windows: Tensor | None = None) -> None:
    """Hands over whole windows, as a model that reads all channels together does."""
    numbers = torch.arange(len(forecast)) if windows is None else windows
    channel = torch.arange(CHANNELS).expand(len(forecast), -1)
    metric.update(Evaluated(forecast, target, numbers[:, None].expand(-1, CHANNELS), channel))


def reduce_both(metric: Metric, other: Metric) -> None:
    """Adds the state of `other` to `metric`, as the sum over two ranks does."""
    others = iter([value for value in vars(other).values() if isinstance(value, Tensor)])
    metric.reduce(lambda value: value + next(others))


def collect(forecast: Tensor, target: Tensor, **options: Any) -> AbsoluteErrors:
    errors = AbsoluteErrors(num_windows=len(forecast), num_channels=CHANNELS, pred_len=STEPS, **options)
    show(errors, forecast, target)
    return errors


@pytest.mark.parametrize(
    ("num_errors", "level", "rank"),
    [(9, 0.9, 9), (8, 0.9, None), (99, 0.55, 55), (100, 0.9, 91), (1, 0.5, 1), (0, 0.5, None), (999, 0.999, 999)],
)
def test_the_rank_is_the_ceiling_of_n_plus_one_times_the_level_without_rounding_errors(num_errors, level, rank):
    assert conformal_rank(num_errors, level) == rank


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_bounds_are_the_ranked_absolute_errors_of_each_channel_and_step(level):
    forecast, target = draw()
    bounds = collect(forecast, target).intervals().at(level)
    by_hand = np.sort((forecast - target).abs().numpy(), axis=0)[math.ceil((WINDOWS + 1) * level) - 1]
    np.testing.assert_array_equal(bounds.numpy(), by_hand.T)


def test_single_channel_rows_in_any_order_give_the_same_bounds_as_whole_windows():
    forecast, target = draw()
    order = torch.randperm(WINDOWS * CHANNELS, generator=torch.Generator().manual_seed(1))
    window, channel = order // CHANNELS, order % CHANNELS
    errors = AbsoluteErrors(num_windows=WINDOWS, num_channels=CHANNELS, pred_len=STEPS)
    rows = [values.transpose(1, 2).flatten(0, 1)[order, :, None] for values in (forecast, target)]
    errors.update(Evaluated(rows[0], rows[1], window[:, None], channel[:, None]))
    torch.testing.assert_close(errors.intervals().bounds, collect(forecast, target).intervals().bounds, rtol=0, atol=0)


def test_two_processes_together_give_the_bounds_and_the_coverage_of_one():
    forecast, target = draw()
    whole = collect(forecast, target)
    halves = [AbsoluteErrors(num_windows=WINDOWS, num_channels=CHANNELS, pred_len=STEPS) for _ in range(2)]
    numbers = torch.arange(WINDOWS)
    for half, own in zip(halves, (numbers[::2], numbers[1::2]), strict=True):
        show(half, forecast[own], target[own], own)
    reduce_both(*halves)
    torch.testing.assert_close(halves[0].intervals().bounds, whole.intervals().bounds, rtol=0, atol=0)

    counted = [Coverage(whole.intervals()) for _ in range(3)]
    for coverage, own in zip(counted, (numbers, numbers[::3], numbers[1:]), strict=True):
        show(coverage, forecast[own], target[own])
    rest = numbers[(numbers % 3) != 0]
    other = Coverage(whole.intervals())
    show(other, forecast[rest], target[rest])
    reduce_both(counted[1], other)
    assert counted[1].shares() == counted[0].shares() != counted[2].shares()


def test_beyond_the_budget_every_kth_window_is_kept_and_memory_stays_within_it():
    forecast, target = draw()
    budget = 4 * CHANNELS * STEPS * 10
    errors = collect(forecast, target, budget_bytes=budget)
    assert errors.errors.numel() * 4 <= budget
    kept = (forecast - target).abs()[:: errors.every]
    assert errors.every == 4 and errors.intervals().num_errors == len(kept)
    torch.testing.assert_close(errors.intervals().at(0.8), kept.sort(dim=0).values[9 - 1].T, rtol=0, atol=0)


def test_wide_series_with_long_horizons_keep_fewer_levels():
    assert kept_levels(7, 720) == LEVELS
    assert kept_levels(862, 720) == COARSE_LEVELS


def test_new_errors_of_the_same_kind_are_covered_at_least_as_often_as_promised():
    intervals = collect(*draw(500)).intervals()
    coverage = Coverage(intervals)
    show(coverage, *draw(4000, seed=1))
    found = coverage.shares()
    for level in (0.8, 0.9):
        assert found[f"{level:g}"] == pytest.approx(level, abs=0.02)
        assert found["per_channel"][f"{level:g}"] == pytest.approx([level] * CHANNELS, abs=0.04)


def test_coverage_counts_the_share_inside_by_hand():
    forecast, target = draw()
    intervals = collect(forecast, target).intervals()
    coverage = Coverage(intervals)
    new_forecast, new_target = draw(seed=5)
    show(coverage, new_forecast, new_target)
    inside = (new_forecast - new_target).abs() <= intervals.at(0.9).T
    assert coverage.shares()["0.9"] == pytest.approx(inside.double().mean().item())


def test_a_level_with_too_few_errors_is_refused_with_the_highest_possible_one():
    intervals = collect(*draw(12)).intervals()
    assert Coverage(intervals).shares().keys() == {"0.8", "0.9", "per_channel"}
    with pytest.raises(ValueError, match=r"--interval 0.95 needs more .* than the 12 of this run: choose at most 0.92"):
        intervals.at(0.95)
    assert Coverage(collect(*draw(5)).intervals()).shares().keys() == {"0.8", "per_channel"}


def test_a_level_between_the_kept_ones_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"--interval 0.925 is not a level .* 0.92, 0.93"):
        collect(*draw()).intervals().at(0.925)
