"""Statistics and patches of rows with dropped values, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from layers.instance_norm import InstanceStatistics
from layers.unitime.masking import count_patches, cut_padded_patches, draw_mask, masked_statistics


def test_dropped_values_do_not_count():
    rows, mask = torch.tensor([[1.0, 100.0, 3.0, 8.0]]), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    statistics = masked_statistics(rows, mask)
    assert statistics.mean.item() == 2
    assert statistics.deviation.item() == pytest.approx((1 + 1e-5) ** 0.5)


def test_a_row_with_one_kept_value_has_the_root_of_eps_as_deviation():
    statistics = masked_statistics(torch.tensor([[5.0, 7.0, 9.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    assert statistics.mean.item() == 7
    assert statistics.deviation.item() == pytest.approx(1e-5**0.5)


def test_a_row_without_a_kept_value_has_mean_zero():
    statistics = masked_statistics(torch.tensor([[5.0, 7.0]]), torch.zeros(1, 2))
    assert statistics.mean.item() == 0
    assert statistics.deviation.item() == pytest.approx(1e-5**0.5)


def test_with_all_values_the_statistics_are_those_of_the_row_even_if_squares_overflow():
    rows = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    rows[1] *= 1e30
    ours, whole = masked_statistics(rows, torch.ones(4, 9)), InstanceStatistics.of(rows[:, :, None])
    torch.testing.assert_close(ours.mean, whole.mean)
    torch.testing.assert_close(ours.deviation, whole.deviation)


@pytest.mark.parametrize(
    ("seq_len", "patch_len", "stride", "patches", "published"),
    [
        (96, 16, 16, 6, 6),
        (36, 16, 4, 6, 6),
        (512, 16, 16, 32, 32),
        (10, 16, 16, 1, 1),
        (16, 16, 8, 1, 1),
        (100, 16, 16, 7, 7),
        (96, 12, 8, 12, 11),
        (37, 4, 16, 4, 3),
    ],
)
def test_every_value_is_in_a_patch_unless_published_rules_are_asked_for(seq_len, patch_len, stride, patches, published):
    rows = torch.arange(float(seq_len))[None]
    sizes = {"patch_len": patch_len, "stride": stride}
    found = cut_padded_patches(rows, **sizes, covers_all=True)
    assert found.shape[1] == count_patches(seq_len, **sizes, covers_all=True) == patches
    assert found[0, -1, -1] == seq_len - 1
    assert cut_padded_patches(rows, **sizes, covers_all=False).shape[1] == published


def test_a_mask_is_drawn_from_the_global_generator_with_its_rate():
    torch.manual_seed(3)
    first = draw_mask(torch.zeros(100, 100), 0.3)
    torch.manual_seed(3)
    assert torch.equal(first, draw_mask(torch.zeros(100, 100), 0.3))
    assert set(first.unique().tolist()) == {0, 1}
    assert first.mean().item() == pytest.approx(0.7, abs=0.02)
