"""The losses between CALF's branches."""

from __future__ import annotations

import torch

from layers.cross_modal.feature_alignment import DISTANCES, feature_loss, mean_absolute_scaled_error


def test_the_last_feature_weighs_most():
    first = [torch.zeros(1, 2, 3) for _ in range(3)]
    second = [torch.full((1, 2, 3), value) for value in (1.0, 10.0, 100.0)]
    loss = feature_loss(first, second, distance=DISTANCES["l1"])
    torch.testing.assert_close(loss, torch.tensor(100 + 0.8 * 10 + 0.64 * 1))


def test_the_smooth_distance_is_quadratic_below_one():
    loss = feature_loss([torch.zeros(1, 1, 2)], [torch.tensor([[[0.5, 3.0]]])], distance=DISTANCES["smooth_l1"])
    torch.testing.assert_close(loss, torch.tensor((0.5 * 0.25 + 2.5) / 2))


def test_bfloat16_features_are_compared_in_float32():
    features = [torch.ones(2, 3, 4, dtype=torch.bfloat16)]
    assert feature_loss(features, [features[0] * 3], distance=DISTANCES["l1"]).dtype == torch.float32


def test_the_scaled_error_counts_in_seasonal_naive_errors():
    look_back = torch.tensor([[1.0, 2.0, 4.0, 3.0], [5.0, 5.0, 5.0, 5.0]]).unsqueeze(2)
    forecast, target = torch.zeros(2, 2, 1), torch.tensor([[3.0, 6.0], [1.0, 1.0]]).unsqueeze(2)
    # Naive errors at season 2: |4 - 1| and |3 - 2|, mean 2; the constant row has none and counts as 0.
    loss = mean_absolute_scaled_error(forecast, target, look_back=look_back, season_length=2)
    torch.testing.assert_close(loss, torch.tensor((3 / 2 + 6 / 2 + 0 + 0) / 4))
