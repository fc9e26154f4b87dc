"""CALF's match module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layers.cross_modal.match import CrossModalMatch


@pytest.fixture
def match() -> CrossModalMatch:
    torch.manual_seed(0)
    return CrossModalMatch(10, 8, num_heads=2, feed_forward=16, dropout=0.0)


def test_words_shared_by_all_rows_give_what_words_repeated_for_each_row_give(match):
    tokens = torch.randn(3, 4, 8, requires_grad=True)
    words = torch.randn(5, 8)
    plain = nn.MultiheadAttention(8, 2, batch_first=True)
    plain.load_state_dict(match.cross_attention.state_dict())
    repeated = words.expand(3, -1, -1)
    expected, _ = plain(tokens, repeated, repeated)
    ours = match.text_tokens(tokens, words)
    torch.testing.assert_close(ours, expected)
    weight = torch.randn(ours.shape)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), tokens, retain_graph=True)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), tokens, retain_graph=True)
    torch.testing.assert_close(gradient, expected_gradient)
    ours.mul(weight).sum().backward()
    expected.mul(weight).sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(match.cross_attention.get_parameter(name).grad, parameter.grad)


def test_a_token_of_a_window_depends_on_its_other_channels_but_on_no_other_window(match):
    channels = torch.randn(2, 3, 10)
    tokens = match.time_tokens(channels)
    changed = channels.clone()
    changed[0, 2] += 1
    difference = (match.time_tokens(changed) - tokens).abs().amax(-1)
    assert (difference[0] > 1e-4).all()
    assert (difference[1] == 0).all()


def test_without_text_there_is_no_cross_attention():
    match = CrossModalMatch(10, 8, num_heads=2, feed_forward=16, dropout=0.0, with_text=False)
    assert not [name for name, _ in match.named_parameters() if name.startswith("cross_attention")]
