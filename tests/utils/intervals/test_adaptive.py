"""Adaptive intervals: they hold their level where errors change, and know nothing of the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from utils.intervals.adaptive import track, widths_in_time


def errors_of(scale: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=(len(scale), 3, 2)) * scale[:, None, None])


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_the_level_is_held_where_errors_grow_threefold_and_shrink_again(level):
    errors = errors_of(np.repeat([1.0, 3.0, 1.0], 1000))
    widths = widths_in_time(track(errors, np.full((3, 2), 1.6), level=level))[:-1]
    assert (errors <= widths).mean((0, 1)) == pytest.approx([level] * 2, abs=0.02)


def test_a_window_is_bounded_by_outcomes_that_were_known_when_it_was_made():
    errors, start = errors_of(np.ones(50)), np.full((3, 2), 1.0)
    widths = widths_in_time(track(errors, start, level=0.9))
    changed = errors.copy()
    # At window 20, the errors one row ahead are known up to window 19, those three rows ahead up to window 17.
    changed[20:, 0], changed[19:, 1], changed[18:, 2] = 9.0, 9.0, 9.0
    again = widths_in_time(track(changed, start, level=0.9))
    np.testing.assert_array_equal(again[:21], widths[:21])
    assert (again[21] != widths[21]).all()


def test_an_unknown_outcome_changes_nothing():
    errors = errors_of(np.ones(20))
    errors[10:] = np.nan
    widths = track(errors, np.full((3, 2), 1.0), level=0.9)
    np.testing.assert_array_equal(widths[11:], np.repeat(widths[10:11], 10, axis=0))


@pytest.mark.shared
def test_the_last_tenth_of_etth1_is_held_within_two_points_and_five_for_the_worst_channel(shared):
    """Of the seasonal naive forecast and of the last value, at 24 steps, where fixed widths hold .52 of one channel."""
    values = pd.read_csv(shared / "dataset" / "ETT-small" / "ETTh1.csv").drop(columns="date").to_numpy()
    values = (values - values[:8640].mean(0)) / values[:8640].std(0)
    steps, first = np.arange(24), len(values) * 9 // 10

    def errors(begin: int, end: int, back: int) -> np.ndarray:
        starts = np.arange(begin, end - 23)[:, None]
        past = starts - back + steps % back
        return np.abs(values[starts + steps] - values[past])

    for back in (24, 1):
        for level in (0.8, 0.9):
            start = np.quantile(errors(8640, 11520, back), level, axis=0)
            found = errors(first - 1000, len(values), back)
            held = found <= widths_in_time(track(found, start, level=level))[:-1]
            held = held[1000:].mean((0, 1))
            assert held.mean() == pytest.approx(level, abs=0.02)
            assert np.abs(held - level).max() < 0.05
