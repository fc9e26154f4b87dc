"""Scaling and the contrastive loss, corrected and as published."""

import math

import pytest
import torch
from torch.nn import functional as F

from layers.alignment import balancing_scale, info_nce, info_nce_logits, token_deviation

TAU = torch.tensor(math.log(0.07))


def vectors(seed: int, num_rows: int = 6) -> torch.Tensor:
    return torch.randn(num_rows, 5, generator=torch.Generator().manual_seed(seed))


def test_scaled_text_deviates_as_much_as_the_time_tokens():
    text, time = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.randn(3, 9, 5) * 7
    scale = balancing_scale(token_deviation(text), token_deviation(time))
    torch.testing.assert_close(token_deviation(text / scale[:, None]), token_deviation(time), rtol=1e-4, atol=0)


def test_the_corrected_loss_is_the_cross_entropy_of_all_cosine_similarities():
    queries, keys = vectors(0), vectors(1)
    similarity = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / 0.07
    torch.testing.assert_close(info_nce(queries, keys, TAU), F.cross_entropy(similarity, torch.arange(6)))


def test_with_the_positive_among_the_negatives_the_loss_cannot_fall_below_ln_2():
    aligned = torch.eye(5) * 100
    assert info_nce(aligned, aligned, TAU).item() < 1e-4
    published = info_nce(aligned, aligned, TAU, positive_among_negatives=True).item()
    assert published == pytest.approx(math.log(2), abs=1e-4)


def test_published_logits_hold_the_own_key_twice():
    logits = info_nce_logits(vectors(0), vectors(1), TAU, positive_among_negatives=True)
    torch.testing.assert_close(logits[:, 0], logits.gather(1, 1 + (torch.arange(6)[:, None] + 1) % 6)[:, 0])
    assert logits.shape == (6, 7)


@pytest.mark.parametrize("num_rows", [6, 7])
def test_groups_contrast_only_their_own_rows_and_every_row_weighs_the_same(num_rows):
    queries, keys = vectors(0, num_rows), vectors(1, num_rows)
    groups = [slice(0, 3), slice(3, 6), slice(6, num_rows)]
    expected = sum(
        info_nce(queries[group], keys[group], TAU) * len(queries[group]) for group in groups if len(queries[group])
    )
    torch.testing.assert_close(info_nce(queries, keys, TAU, group_rows=3), expected / num_rows)


def test_a_row_without_negatives_has_no_loss_and_finite_gradients():
    queries, keys, tau = vectors(0, 1).requires_grad_(), vectors(1, 1).requires_grad_(), TAU.clone().requires_grad_()
    loss = info_nce(queries, keys, tau)
    loss.backward()
    assert loss.item() == 0
    for value in (queries, keys, tau):
        assert value.grad is not None and torch.isfinite(value.grad).all()


def test_gradients_of_the_corrected_loss_are_finite_and_reach_the_temperature():
    queries, tau = vectors(0).requires_grad_(), TAU.clone().requires_grad_()
    info_nce(queries, vectors(1), tau).backward()
    assert queries.grad is not None and torch.isfinite(queries.grad).all()
    assert tau.grad is not None and torch.isfinite(tau.grad) and tau.grad != 0
