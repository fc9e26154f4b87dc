"""Paired tests over overlapping windows."""

from __future__ import annotations

import numpy as np
import pytest

from utils.report.significance import holm, paired_test


def overlapping_errors(generator: np.random.Generator, num_windows: int, horizon: int) -> np.ndarray:
    """Errors of windows one step apart: running means of the squared errors of their steps."""
    steps = generator.normal(size=num_windows + horizon - 1) ** 2
    return np.convolve(steps, np.full(horizon, 1 / horizon), mode="valid")


def test_two_equally_good_models_are_rarely_called_different_although_windows_overlap():
    generator = np.random.default_rng(0)
    horizon, rejected_by_blocks, rejected_by_windows = 24, 0, 0
    for trial in range(60):
        first, second = (overlapping_errors(generator, 1000, horizon) for _ in range(2))
        p_blocks = paired_test(first, second, horizon=horizon, num_resamples=300, seed=trial).p_bootstrap
        p_windows = paired_test(first, second, horizon=1, num_resamples=300, seed=trial).p_bootstrap
        assert p_blocks is not None and p_windows is not None
        rejected_by_blocks += p_blocks < 0.05
        rejected_by_windows += p_windows < 0.05
    assert rejected_by_blocks <= 9
    assert rejected_by_windows >= 25


def test_a_real_difference_is_found_with_its_sign_and_interval():
    generator = np.random.default_rng(1)
    first = overlapping_errors(generator, 1000, 12)
    test = paired_test(first, first + 0.1 + generator.normal(0, 0.05, 1000), horizon=12)
    assert test.interval is not None and test.interval[0] < -0.1 < test.interval[1] < 0
    assert test.p_bootstrap is not None and test.p_bootstrap < 0.01
    assert test.p_wilcoxon is not None and test.p_wilcoxon < 0.01


def test_too_few_blocks_give_no_p_value():
    test = paired_test(np.zeros(100), np.ones(100), horizon=10)
    assert (test.difference, test.num_blocks, test.p_bootstrap, test.interval) == (-1.0, 5, None, None)


def test_a_model_does_not_differ_from_itself():
    errors = np.random.default_rng(2).random(50)
    assert paired_test(errors, errors, horizon=2).p_bootstrap == 1.0


def test_different_numbers_of_windows_are_refused():
    with pytest.raises(ValueError, match="3 and 4 windows"):
        paired_test(np.zeros(3), np.zeros(4), horizon=1)


def test_holm_corrects_the_smallest_most_keeps_order_and_skips_none():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
