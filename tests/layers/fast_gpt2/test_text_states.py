"""The fast text branch equals the plain one, forward and backward, and does no more than it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import layers.fast_gpt2.operations
from layers.fast_gpt2.layout import TextLayout, _padded_layout
from layers.fast_gpt2.text_states import Padding, text_states
from tests.reference_text import plain_states, small_gpt2

LENGTHS = torch.tensor([9, 14, 7, 14, 11, 5])


def texts(width: int = 14) -> Tensor:
    """Six rows of ids: rows 0, 1, 4 begin alike, row 3 repeats row 1."""
    ids = torch.randint(0, 50, (6, width), generator=torch.Generator().manual_seed(1))
    ids[[1, 4], :4] = ids[0, :4]
    ids[3] = ids[1]
    return ids


def prefix_of(num_prefix: int, width: int = 32) -> Tensor:
    return torch.randn(num_prefix, width, generator=torch.Generator().manual_seed(2)).requires_grad_()


def gradient(states: Tensor, prefix: Tensor) -> Tensor:
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(3))
    return torch.autograd.grad((states * weights).sum(), prefix, retain_graph=True)[0]


def fast_states(gpt2, prefix, ids, lengths, num_states, *, padding: Padding = "aligned", dropout=False) -> Tensor:
    return text_states(gpt2, prefix, ids, lengths, num_states, padding=padding, pad_id=0, dropout=dropout)


def assert_equal_to_plain(gpt2, num_prefix: int, num_states: int, padding: Padding = "aligned") -> None:
    prefix, published = prefix_of(num_prefix), padding == "published"
    fast = fast_states(gpt2, prefix, texts(), LENGTHS, num_states, padding=padding)
    plain = plain_states(gpt2, prefix, texts(), LENGTHS, num_states, published=published)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=3e-6)
    torch.testing.assert_close(gradient(fast, prefix), gradient(plain, prefix), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        without_graph = fast_states(gpt2, prefix, texts(), LENGTHS, num_states, padding=padding)
    torch.testing.assert_close(without_graph, plain, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("padding", ["aligned", "published"])
@pytest.mark.parametrize("num_blocks", [1, 2, 4])
def test_states_and_the_gradient_of_the_prefix_equal_the_plain_forward(num_blocks, padding):
    assert_equal_to_plain(small_gpt2(num_blocks), 4, 4, padding)


@pytest.mark.parametrize("padding", ["aligned", "published"])
def test_states_that_reach_back_into_the_prefix_equal_the_plain_forward(padding):
    assert_equal_to_plain(small_gpt2(), 12, 12, padding)


def test_all_positions_can_be_asked_for_and_equal_the_plain_forward():
    assert_equal_to_plain(small_gpt2(), 3, 3 + 14, "published")


def test_without_onednn_states_and_gradient_still_equal_the_plain_forward(monkeypatch):
    monkeypatch.setattr(layers.fast_gpt2.operations, "ONEDNN_LINEAR", None)
    assert_equal_to_plain(small_gpt2(), 4, 4)


def test_an_mlp_cut_into_many_parts_still_equals_the_plain_forward(monkeypatch):
    monkeypatch.setattr(layers.fast_gpt2.operations, "MLP_TOKENS", 5)
    assert_equal_to_plain(small_gpt2(), 4, 4)


@pytest.mark.parametrize("num_prefix", [4, 12])
def test_the_way_of_a_gpu_whose_rows_stay_padded_equals_the_plain_forward(num_prefix, monkeypatch):
    def padded(ids, lengths, *, num_prefix, num_states):
        return _padded_layout(ids, lengths, num_prefix, num_states)

    monkeypatch.setattr(TextLayout, "of", staticmethod(padded))
    monkeypatch.setattr(layers.fast_gpt2.operations, "keeps_slope", lambda x: False)  # noqa: ARG005
    monkeypatch.setattr(layers.fast_gpt2.operations, "ONEDNN_LINEAR", None)
    assert_equal_to_plain(small_gpt2(), num_prefix, num_prefix)


def test_without_prefix_the_states_are_those_of_the_text_alone():
    gpt2, nothing = small_gpt2(), torch.zeros(0, 32)
    torch.testing.assert_close(
        fast_states(gpt2, None, texts(), LENGTHS, 5), plain_states(gpt2, nothing, texts(), LENGTHS, 5)
    )


def test_a_text_shorter_than_its_states_without_prefix_is_refused():
    with pytest.raises(ValueError, match="5 tokens behind 0 learnable ones has no 6 last states"):
        fast_states(small_gpt2(), None, texts(), LENGTHS, 6)


def test_a_row_has_the_same_states_alone_as_in_any_batch():
    gpt2, prefix, ids = small_gpt2(), prefix_of(4), texts()
    together = fast_states(gpt2, prefix, ids, LENGTHS, 4)
    for row in range(len(ids)):
        alone = fast_states(gpt2, prefix, ids[row : row + 1], LENGTHS[row : row + 1], 4)
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=3e-6)


def test_what_stands_behind_the_end_of_a_text_is_never_read():
    gpt2, prefix = small_gpt2(), prefix_of(4)
    ids, wide = texts(), torch.full((6, 20), 49)
    wide[:, :14] = ids.masked_fill(torch.arange(14) >= LENGTHS[:, None], 17)
    assert fast_states(gpt2, prefix, wide, LENGTHS, 4).equal(fast_states(gpt2, prefix, ids, LENGTHS, 4))


def test_every_distinct_beginning_of_a_text_is_read_once():
    layout = TextLayout.of(texts(), LENGTHS, num_prefix=4, num_states=4)
    rows = [tuple(row[:length]) for row, length in zip(texts().tolist(), LENGTHS.tolist(), strict=True)]
    beginnings = {row[:end] for row in rows for end in range(1, len(row) + 1)}
    pairs = {(token, place) for row in rows for place, token in enumerate(row)}
    assert (layout.num_tokens, len(layout.pair_ids)) == (4 + len(beginnings), len(pairs))
    assert len(beginnings) < sum(map(len, rows))


def test_nothing_keeps_a_graph_when_the_prefix_is_frozen():
    assert not fast_states(small_gpt2(), prefix_of(4).detach(), texts(), LENGTHS, 4).requires_grad


def test_a_second_backward_pass_is_refused_since_the_first_frees_what_it_reads():
    prefix = prefix_of(4)
    states = fast_states(small_gpt2(), prefix, texts(), LENGTHS, 4)
    states.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="freed by a first backward pass"):
        states.sum().backward()


def test_two_graphs_at_once_do_not_disturb_each_other():
    gpt2, prefix = small_gpt2(), prefix_of(4)
    first, second = (fast_states(gpt2, prefix, texts()[rows], LENGTHS[rows], 4) for rows in ([0, 1, 2], [3, 4, 5]))
    alone = gradient(fast_states(gpt2, prefix, texts()[:3], LENGTHS[:3], 4), prefix)
    gradient(second, prefix)
    assert gradient(first, prefix).equal(alone)


@pytest.mark.parametrize("num_prefix", [4, 12])
def test_bf16_weights_give_float32_states_and_gradients_near_those_of_float32(num_prefix):
    gpt2, prefix = small_gpt2(), prefix_of(num_prefix)
    exact = fast_states(gpt2, prefix, texts(), LENGTHS, num_prefix)
    exact_gradient = gradient(exact, prefix)
    rounded = fast_states(gpt2.bfloat16(), prefix, texts(), LENGTHS, num_prefix)
    rounded_gradient = gradient(rounded, prefix)
    assert rounded.dtype == rounded_gradient.dtype == torch.float32
    assert (rounded - exact).norm() < 0.02 * exact.norm()
    assert (rounded_gradient - exact_gradient).norm() < 0.05 * exact_gradient.norm()


def test_autocast_around_the_branch_changes_nothing():
    gpt2, prefix = small_gpt2(), prefix_of(4)
    expected = fast_states(gpt2, prefix, texts(), LENGTHS, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert fast_states(gpt2, prefix, texts(), LENGTHS, 4).equal(expected)


def test_a_compiled_caller_gets_the_same_states_and_gradient():
    gpt2, prefix = small_gpt2(), prefix_of(4)
    expected = fast_states(gpt2, prefix, texts(), LENGTHS, 4)
    compiled = torch.compile(fast_states, backend="eager")(gpt2, prefix, texts(), LENGTHS, 4)
    assert compiled.equal(expected)
    assert gradient(compiled, prefix).equal(gradient(expected, prefix))


def test_dropout_draws_anew_for_every_row_and_leaves_the_llm_in_evaluation_mode():
    gpt2, prefix = small_gpt2(), prefix_of(4)
    torch.manual_seed(0)
    states = fast_states(gpt2, prefix, texts(), LENGTHS, 4, padding="published", dropout=True)
    assert not torch.allclose(states[1], states[3])
    assert not gpt2.training


@pytest.mark.parametrize("padding", ["aligned", "published"])
def test_dropout_of_rate_zero_equals_the_plain_forward(padding):
    gpt2, prefix = small_gpt2(), prefix_of(4)
    for module in gpt2.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    states = fast_states(gpt2, prefix, texts(), LENGTHS, 4, padding=padding, dropout=True)
    plain = plain_states(gpt2, prefix, texts(), LENGTHS, 4, published=padding == "published")
    torch.testing.assert_close(states, plain, rtol=1e-5, atol=3e-6)
    torch.testing.assert_close(gradient(states, prefix), gradient(plain, prefix), rtol=1e-5, atol=1e-5)
