"""Quantile forecasts against numbers worked out by hand: levels, pinball loss, CRPS, shares below a quantile."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from utils.intervals.quantiles import CRPS, BelowQuantile, Pinball, crps, interval_levels, parse_quantiles, pinball
from utils.metrics import Evaluated

LEVELS = (0.1, 0.5, 0.9)
SIZES: dict[str, Any] = {"num_windows": 2, "num_channels": 1, "pred_len": 2}
PLACES = {"window": torch.tensor([[0], [1]]), "channel": torch.tensor([[0], [0]])}


def test_levels_are_read_in_order_and_bound_central_intervals():
    assert parse_quantiles("0.9, 0.10,.5") == LEVELS
    assert interval_levels((0.05, 0.1, 0.5, 0.9, 0.95)) == {0.8: (1, 3), 0.9: (0, 4)}
    assert interval_levels((0.3, 0.5, 0.9)) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("0.1,0.9", "needs 0.5"), ("0.5", "at least one other"), ("0,0.5", "between 0 and 1"), ("a,0.5", "numbers such")],
)
def test_levels_that_make_no_forecast_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_quantiles(text)


def test_the_pinball_loss_weights_errors_by_the_level():
    quantiles, target = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([3.0])
    torch.testing.assert_close(pinball(quantiles, target, LEVELS), torch.tensor([(0.1 * 2 + 0.5 * 1 + 0.1 * 1) / 3]))


def test_the_crps_is_that_of_masses_nearest_to_the_levels():
    """CRPS = E|X - y| - E|X - X'| / 2, here with masses 0.3, 0.4 and 0.3 on the three quantiles."""
    values, masses, target = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.3, 0.4, 0.3]), torch.tensor([3.0])
    spread = (values[:, None] - values).abs() * masses[:, None] * masses
    expected = ((values - target).abs() * masses).sum() - spread.sum() / 2
    torch.testing.assert_close(crps(values[None], target, LEVELS), expected[None])


@pytest.mark.parametrize("levels", [LEVELS, (0.5, 0.9), (0.2, 0.3, 0.5)])
def test_a_forecast_of_one_value_has_its_absolute_error_as_crps(levels):
    forecast, target = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.zeros(2, 2, 1)
    metric = CRPS(levels, **SIZES)
    metric.update(Evaluated(forecast, target, **PLACES))
    assert metric.values() == pytest.approx({"crps": 2.5})
    summary = metric.summary(columns=["a"], scale=[10.0])
    assert summary["crps_original"] == pytest.approx(25.0) and summary["per_step"]["crps"] == pytest.approx([2.0, 3.0])


def test_shares_below_each_quantile_and_the_pinball_loss_are_means_over_all_values():
    target = torch.tensor([[[0.0], [1.0]], [[2.0], [3.0]]])
    quantiles = torch.tensor([0.5, 2.0, 9.0]).expand(2, 2, 1, 3)
    below, loss = BelowQuantile(LEVELS, **SIZES), Pinball(LEVELS, **SIZES)
    for metric in (below, loss):
        metric.update(Evaluated(quantiles[..., 1], target, quantiles=quantiles, **PLACES))
    shares = below.summary(columns=["a"], scale=[1.0])["below_quantile"]
    assert shares == {"0.1": 0.25, "0.5": 0.75, "0.9": 1.0, "per_channel": {"0.1": [0.25], "0.5": [0.75], "0.9": [1.0]}}
    assert loss.values()["pinball"] == pytest.approx(pinball(quantiles, target, LEVELS).mean().item())
