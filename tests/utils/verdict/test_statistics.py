"""Verdicts on made errors whose true difference is known."""

from typing import Any

import numpy as np
import pytest
from arch.bootstrap import CircularBlockBootstrap
from statsmodels.stats.multitest import multipletests

from utils.verdict.statistics import (
    Difference,
    Scatter,
    _scatter,
    _seeds_needed,
    across_cells,
    difference,
    holm,
    variance_of_mean,
    word,
)

NUM_WINDOWS, HORIZON = 2000, 24


def errors(num_seeds: int, *, factor: float = 1.0, spread: float = 0.002, seed: int = 0) -> np.ndarray:
    """Errors of overlapping windows, alike for all arms, and a level per seed that scatters by `spread`."""
    shared = np.random.default_rng(99).gamma(2.0, 0.25, NUM_WINDOWS + HORIZON)
    windows = np.convolve(shared, np.ones(HORIZON) / HORIZON, mode="valid")[:NUM_WINDOWS]
    levels = 1 + spread * np.random.default_rng(seed).standard_normal(num_seeds)
    return factor * levels[:, None] * windows[None]


def judged(found: Difference) -> str:
    return word(found, found.p_difference)


@pytest.mark.parametrize(("factor", "expected"), [(0.98, "better"), (1.02, "worse")])
def test_a_difference_of_two_percent_is_found_with_its_sign_and_size(factor, expected):
    found = difference(errors(5, factor=factor, seed=1), errors(5, seed=2), horizon=HORIZON)
    assert judged(found) == expected
    assert found.percent == pytest.approx(100 * (factor - 1), abs=0.4)
    assert found.low < (factor - 1) * found.reference < found.high


def test_no_difference_is_equivalent_when_seeds_scatter_little_and_undecided_when_much():
    assert judged(difference(errors(5, seed=1), errors(5, seed=2), horizon=HORIZON)) == "equivalent"
    noisy = difference(errors(5, spread=0.1, seed=1), errors(5, spread=0.1, seed=2), horizon=HORIZON)
    assert judged(noisy) == "undecided"
    assert noisy.seeds_needed is None or noisy.seeds_needed > 5


def test_equivalence_is_not_declared_at_the_margin():
    found = difference(errors(5, factor=1.0101, spread=0, seed=1), errors(5, spread=0), horizon=HORIZON)
    assert judged(found) == "worse"


def test_equivalence_is_rarely_declared_where_the_true_difference_is_the_margin():
    calls = 0
    for number in range(40):
        arm = errors(8, factor=1.01, spread=0.003, seed=2 * number)
        found = difference(arm, errors(8, spread=0.003, seed=2 * number + 1), horizon=HORIZON)
        calls += judged(found) == "equivalent"
    assert calls <= 5


def test_equivalence_is_declared_where_it_is_true_and_the_seeds_can_show_it():
    calls = 0
    for number in range(20):
        arm, reference = (errors(8, spread=0.003, seed=2 * number + part) for part in (0, 1))
        calls += judged(difference(arm, reference, horizon=HORIZON)) == "equivalent"
    assert calls >= 18


@pytest.mark.parametrize("num_blocks", [7, 14])
@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("favour", [0.0, 1.0])
def test_a_true_null_is_called_a_difference_about_as_often_as_the_level_says(num_blocks, num_seeds, favour):
    """Seeds that scatter alone, or as much as stretches of time that favour one arm."""
    calls, num_windows = 0, num_blocks * 2 * HORIZON
    for number in range(300):
        generator = np.random.default_rng(number)
        steps = generator.standard_normal(num_windows + HORIZON - 1)
        stretches = favour * np.convolve(steps, np.ones(HORIZON) / HORIZON, mode="valid") * np.sqrt(num_windows)
        levels = np.sqrt(num_seeds) * generator.standard_normal((num_seeds, 1))
        reference = np.full((num_seeds, num_windows), 100.0)
        found = difference(reference + stretches + levels, reference, horizon=HORIZON)
        calls += found.p_difference < 0.05
    # 5 % of 300 are 15; without Student's t up to 72 were.
    assert calls <= 25


def test_too_few_blocks_of_windows_decide_nothing_however_large_the_difference():
    # 5 blocks of 48 windows.
    found = difference(errors(5, factor=2.0)[:, :240], errors(5, seed=2)[:, :240], horizon=HORIZON)
    assert (judged(found), found.p_difference, found.seeds_needed) == ("not tested", 1.0, None)
    assert np.isnan([found.low, found.high]).all()


def test_differences_that_change_from_window_to_window_are_found_as_rarely_as_the_level_says():
    """Overlapping windows share their steps, so that whole stretches of time favour one arm."""
    calls = 0
    for number in range(40):
        steps = np.random.default_rng(number).normal(0, 0.3, NUM_WINDOWS // 4 + HORIZON)
        favour = np.convolve(steps, np.ones(HORIZON) / HORIZON, mode="valid")[: NUM_WINDOWS // 4]
        reference = errors(5, spread=0)[:, : NUM_WINDOWS // 4]
        calls += judged(difference(reference + favour, reference, horizon=HORIZON)) in (
            "better",
            "worse",
        )
    assert calls <= 6


def scatter(
    *, of_windows: float = 0.0, of_interaction: float = 0.0, of_one_seed: float = 0.01**2, blocks: int = 10**6
) -> Scatter:
    return Scatter(of_windows, of_interaction, of_one_seed, blocks=blocks, seeds=5)


def test_seeds_needed_follow_from_the_spread_and_the_windows_limit_them():
    # The standard error of one seed is 0.01: 0.002 is 1.985 standard errors of 99 seeds, as Student's t asks for.
    assert _seeds_needed(0.002, 0.0, scatter()) == (99, True)
    assert _seeds_needed(0.0005, 0.0, scatter()) == (None, True)
    assert _seeds_needed(0.002, 0.0, scatter(of_windows=0.01**2)) == (None, False)
    # Equivalence within 0.01 needs fewer than a difference of 0.001 does.
    assert _seeds_needed(0.001, 0.01, scatter()) == (6, True)


def test_seeds_needed_rise_with_the_number_of_tests_that_the_p_value_is_corrected_for():
    (one, _), (four, _) = (_seeds_needed(0.002, 0.0, scatter(), num_tests=number) for number in (1, 4))
    assert one is not None and four is not None
    # (2.50 / 1.96)^2: 0.0125 instead of 0.05 in two tails.
    assert four / one == pytest.approx((2.498 / 1.960) ** 2, rel=0.02)


def test_the_degrees_of_freedom_are_those_of_the_part_that_scatters():
    assert scatter(of_windows=1.0, of_one_seed=0.0, blocks=7).freedom(5) == pytest.approx(6)
    assert scatter(of_windows=0.0, blocks=7).freedom(5) == pytest.approx(4)
    # (1 + 1)^2 / (1 / 6 + 1 / 4)
    assert scatter(of_windows=1.0, of_one_seed=5.0, blocks=7).freedom(5) == pytest.approx(9.6)


def test_interval_and_p_value_agree():
    for seed in range(20):
        found = difference(errors(3, spread=0.02, factor=1.03, seed=seed), errors(3, seed=99), horizon=HORIZON)
        assert (found.low > 0 or found.high < 0) == (found.p_difference < 0.05)


def test_an_error_that_is_not_finite_is_no_result():
    broken = errors(5)
    broken[2, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        difference(broken, errors(5, seed=2), horizon=HORIZON)


def test_what_seeds_and_windows_share_falls_with_the_seeds():
    """As 0.01 of one seed above, but from windows that favour one seed and not another."""
    needed, can_be_decided = _seeds_needed(0.002, 0.0, scatter(of_interaction=0.01**2, of_one_seed=0.0))
    # With a million blocks the distribution is normal: (1.96 * 0.01 / 0.002)^2.
    assert (needed, can_be_decided) == (97, True)


@pytest.mark.parametrize(("num_windows", "block"), [(300, 48), (288, 48), (50, 50), (90, 7)])
def test_the_variance_of_a_mean_is_that_of_the_drawn_bootstrap(num_windows, block):
    values = np.cumsum(np.random.default_rng(1).standard_normal(num_windows))
    bootstrap = CircularBlockBootstrap(block, values, seed=np.random.default_rng(0))
    drawn: Any = bootstrap.apply(np.mean, 20000)
    assert variance_of_mean(values, block) == pytest.approx(float(drawn.var()), rel=0.05)


def test_the_scatter_is_that_of_windows_and_seeds_drawn_at_once():
    by_seed = np.random.default_rng(2).standard_normal((4, 1)) + np.random.default_rng(3).standard_normal((4, 640))
    block, found = 2 * HORIZON, _scatter(by_seed, 2 * HORIZON, 2)
    num_blocks = 640 // block
    generator = np.random.default_rng(4)
    draws = []
    bootstrap: Any = CircularBlockBootstrap(block, np.arange(640), seed=np.random.default_rng(5))
    for (places,), _ in bootstrap.bootstrap(4000):
        drawn = by_seed[:, places]
        draws.append((drawn.mean(), drawn[generator.integers(4, size=4)].mean()))
    over_windows, over_both = np.array(draws).T
    windows = 6 / 5 * num_blocks / (num_blocks - 1) * over_windows.var()
    seeds = 4 / 3 * (over_both - over_windows).var()
    assert found.error(4) ** 2 == pytest.approx(windows + seeds, rel=0.1)
    assert found.of_windows + found.of_interaction / 4 == pytest.approx(windows, rel=0.1)
    # These windows are noise of each seed: what all share is near nothing.
    assert found.of_windows < 0.35 * windows


def test_longer_blocks_see_more_of_errors_that_depend_on_each_other_for_long():
    steps = np.random.default_rng(0).standard_normal(NUM_WINDOWS + 400)
    slow = np.convolve(steps, np.ones(400) / 400, mode="valid")[:NUM_WINDOWS]
    arm, reference = errors(3, spread=0.0) + slow, errors(3, spread=0.0)
    widths = []
    for length in (2, 4, 8):
        found = difference(arm, reference, horizon=HORIZON, block_horizons=length)
        widths.append(found.high - found.low)
    assert widths == sorted(widths) and widths[2] > 1.5 * widths[0]


def test_seeds_are_drawn_alike_for_both_arms():
    """A level that a seed gives to both arms is no reason for doubt."""
    levels = 1 + 0.2 * np.random.default_rng(3).standard_normal((5, 1))
    windows = errors(1, spread=0)
    found = difference(0.98 * levels * windows, levels * windows, horizon=HORIZON)
    assert judged(found) == "better"


def test_the_verdict_uses_the_corrected_p_value():
    found = Difference(-0.1, 1.0, -0.15, -0.05, 0.03, 0.9, 5, 3)
    assert [word(found, p) for p in (0.03, 0.06)] == ["better", "undecided"]


def test_holm_multiplies_the_smallest_by_the_number_of_cells():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_holms_correction_is_that_of_statsmodels():
    for number in (2, 7):
        p_values = np.random.default_rng(number).uniform(0, 0.3, number).round(2)
        expected: Any = multipletests(p_values, method="holm")[1]
        assert holm(p_values.tolist()) == pytest.approx(expected.tolist())


def test_four_cells_that_agree_cannot_be_significant_across_cells():
    found = [Difference(-0.1 * n, 1.0, 0, 0, 0.01, 1, 5, 3) for n in (1, 2, 3, 4)]
    assert across_cells(found) == pytest.approx(0.125)
    assert across_cells(found[:1]) is None
