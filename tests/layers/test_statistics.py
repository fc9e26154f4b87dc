"""What a prompt says of a row: values, trend, and lags in an order that nothing else decides."""

import pytest
import torch

from layers.statistics import NUM_LAGS, RowStatistics, circular_autocorrelation


def walks(num_rows: int = 6, time: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_rows, time, generator=torch.Generator().manual_seed(seed)).cumsum(dim=1)


def test_the_median_is_the_lower_of_the_two_middle_values():
    statistics = RowStatistics.of(torch.tensor([[0.0, 1.0, 2.0, 9.0] * 5]))
    row = torch.tensor([0.0, 1.0, 2.0, 9.0], dtype=torch.float64)
    expected = (1 - row.mean()) / torch.sqrt(row.var(unbiased=False) + 1e-5)
    assert statistics.median.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_autocorrelation_is_the_circular_one():
    rows = walks(2, 12).double()
    expected = torch.stack([(rows * rows.roll(-lag, dims=1)).sum(dim=1) for lag in range(12)], dim=1)
    torch.testing.assert_close(circular_autocorrelation(rows), expected)


def test_the_autocorrelation_of_an_odd_number_of_steps_is_the_circular_one():
    rows = walks(1, 11).double()
    expected = torch.stack([(rows * rows.roll(-lag, dims=1)).sum(dim=1) for lag in range(11)], dim=1)
    torch.testing.assert_close(circular_autocorrelation(rows), expected)


def test_a_daily_cycle_is_found_among_half_of_the_lags():
    time = torch.arange(96.0)
    lags = RowStatistics.of(torch.sin(2 * torch.pi * time / 24)[None]).lags[0].tolist()
    assert lags[:2] == [24, 48]


def test_equal_autocorrelations_are_ordered_by_the_smaller_lag():
    assert RowStatistics.of(torch.tensor([[1.0, -1.0] * 12])).lags[0].tolist() == [2, 4, 6, 8, 10]
    assert RowStatistics.of(torch.full((1, 20), 7.0)).lags[0].tolist() == [1, 2, 3, 4, 5]


def test_the_published_lags_hold_lag_zero_and_the_mirrors():
    lags = RowStatistics.of(walks(), all_lags=True).lags
    mirrored = (40 - lags) % 40
    assert lags.eq(0).any(dim=1).all()
    assert torch.equal(lags.sort(dim=1).values, mirrored.sort(dim=1).values)


def test_lags_are_in_one_to_half_the_look_back_and_strongest_first():
    rows = walks()
    lags = RowStatistics.of(rows).lags
    assert lags.shape == (6, NUM_LAGS)
    assert int(lags.min()) >= 1 and int(lags.max()) <= 20
    normalised = rows.double() - rows.double().mean(dim=1, keepdim=True)
    strength = circular_autocorrelation(normalised).gather(1, lags)
    assert (strength.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("float32", [False, True])
def test_the_trend_compares_the_last_value_with_the_first(float32):
    rows = torch.tensor([[0.0, 5.0] + [1.0] * 18, [2.0, 5.0] + [1.0] * 18])
    assert RowStatistics.of(rows, float32=float32).upward.tolist() == [True, False]


def test_a_row_that_ends_where_it_began_is_downward_whatever_its_rounding():
    rows = walks(200)
    rows[:, -1] = rows[:, 0]
    assert not RowStatistics.of(rows).upward.any()
    # The published sum of differences is rounding noise in such rows: some are called upward.
    assert RowStatistics.of(rows, float32=True).upward.any()


def test_statistics_of_a_row_do_not_depend_on_the_rows_beside_it():
    rows = walks(64, 96)
    together = RowStatistics.of(rows)
    for index in range(0, 64, 7):
        alone = RowStatistics.of(rows[index : index + 1])
        for name in ("minimum", "maximum", "median", "upward", "lags"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[index])
