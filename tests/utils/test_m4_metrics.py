"""The competition's measures, beside figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from utils.m4_metrics import is_seasonal, mase, naive2, owa, seasonal_indices, seasonal_naive_error, smape


def wave(length: int, season: int, *, noise: float = 0.0) -> np.ndarray:
    steps = np.arange(length)
    shape = 1 + 0.5 * np.sin(2 * np.pi * steps / season)
    return 100 * shape + noise * np.random.default_rng(0).normal(size=length)


def test_smape_is_the_share_of_the_mean_size_in_percent():
    forecast, target = np.array([[110.0, 0.0], [50.0, 50.0]]), np.array([[90.0, 0.0], [50.0, 150.0]])
    # |110 - 90| / (200 / 2) = 20 %, 0 / 0 counts as 0; 0 and |50 - 150| / 100 = 100 %.
    np.testing.assert_allclose(smape(forecast, target), [10.0, 50.0])


def test_smape_does_not_change_when_both_are_multiplied():
    forecast, target = np.random.default_rng(0).uniform(1, 2, size=(2, 3, 4))
    np.testing.assert_allclose(smape(forecast * 7, target * 7), smape(forecast, target))


def test_mase_counts_in_seasonal_naive_errors_of_the_training_series():
    series = np.array([1.0, 5.0, 2.0, 8.0, 6.0])
    naive_error = seasonal_naive_error(series, 2)
    assert naive_error == pytest.approx((1 + 3 + 4) / 3)
    assert mase(np.array([10.0, 12.0]), np.array([6.0, 16.0]), naive_error=naive_error) == pytest.approx(4 / (8 / 3))


def test_a_series_shorter_than_a_season_has_no_naive_error():
    assert seasonal_naive_error(np.ones(3), 4) == 0.0


def test_naive2_itself_has_an_owa_of_one():
    assert owa(smape=8.0, mase=2.0, naive2_smape=8.0, naive2_mase=2.0) == 1.0
    assert owa(smape=4.0, mase=3.0, naive2_smape=8.0, naive2_mase=2.0) == 1.0
    assert owa(smape=4.0, mase=1.0, naive2_smape=8.0, naive2_mase=2.0) == 0.5


def test_seasonal_indices_of_an_even_season_by_hand():
    # Season 2: the trend of value t is (x[t-1] / 2 + x[t] + x[t+1] / 2) / 2.
    series = np.array([2.0, 6.0, 4.0, 8.0, 6.0])
    ratios = {1: 6 / ((1 + 6 + 2) / 2), 2: 4 / ((3 + 4 + 4) / 2), 3: 8 / ((2 + 8 + 3) / 2)}
    raw = np.array([ratios[2], (ratios[1] + ratios[3]) / 2])
    np.testing.assert_allclose(seasonal_indices(series, 2), raw / raw.mean())


def test_seasonal_indices_of_an_odd_season_by_hand():
    series = np.array([3.0, 6.0, 9.0, 3.0, 6.0])
    ratios = np.array([3 / 6, 6 / 6, 9 / 6])
    np.testing.assert_allclose(seasonal_indices(series, 3), ratios / ratios.mean())


def test_a_purely_seasonal_series_gets_its_own_shape_as_indices():
    np.testing.assert_allclose(seasonal_indices(wave(48, 12), 12), wave(12, 12) / 100, atol=1e-12)


def test_a_wave_is_seasonal_and_noise_is_not():
    noise = np.random.default_rng(1).normal(size=96) + 50
    assert is_seasonal(wave(96, 12, noise=5.0), 12)
    assert not is_seasonal(noise, 12)


def test_the_limit_of_the_test_is_the_90_percent_one_of_the_autocorrelation():
    series = np.random.default_rng(2).normal(size=40) + wave(40, 4) * 0.008
    centred = series - series.mean()
    r = [np.sum(centred[lag:] * centred[: len(centred) - lag]) / np.sum(centred**2) for lag in range(1, 5)]
    limit = 1.645 / np.sqrt(40) * np.sqrt(1 + 2 * (r[0] ** 2 + r[1] ** 2 + r[2] ** 2))
    assert is_seasonal(series, 4) == (abs(r[3]) > limit)


@pytest.mark.parametrize(("length", "season"), [(35, 12), (96, 1), (72, 24)], ids=str)
def test_too_few_seasons_or_none_are_never_seasonal(length, season):
    assert not is_seasonal(wave(length, max(season, 2)), season)


def test_a_constant_series_is_not_seasonal():
    assert not is_seasonal(np.full(60, 3.0), 12)


def test_naive2_continues_a_seasonal_series_exactly():
    series = wave(96, 12)
    for length in (84, 89):
        np.testing.assert_allclose(naive2(series[:length], horizon=7, season_length=12), series[length : length + 7])


def test_naive2_of_a_series_without_a_season_is_its_last_value():
    np.testing.assert_array_equal(naive2(np.array([4.0, 9.0, 7.0]), horizon=2, season_length=12), [7.0, 7.0])


def test_zeros_with_spikes_have_a_naive2_forecast_of_numbers():
    spikes = np.zeros(60)
    spikes[::12] = 5.0
    for series in (spikes, np.where(np.arange(60) == 30, 5.0, 0.0), np.zeros(60)):
        assert np.isfinite(naive2(series, horizon=18, season_length=12)).all()


def test_an_average_over_a_few_constant_series_is_a_number():
    assert np.isfinite(owa(smape=1.0, mase=0.0, naive2_smape=0.0, naive2_mase=0.0))
