"""The packed GPT-2 reads prefix and texts as the text encoder does, forward and backward."""

from __future__ import annotations

import pytest
import torch

from tests.layers.test_text_encoder import LENGTHS, encoder_of, gradient, prompt_of, texts
from tests.reference_text import small_gpt2


@pytest.mark.parametrize("num_blocks", [1, 3])
@pytest.mark.parametrize("num_prefix", [4, 12])
def test_states_and_gradient_equal_those_of_the_text_encoder(num_blocks, num_prefix):
    """With 12 states some reach back into the prefix."""
    encoder = encoder_of(small_gpt2(num_blocks), num_prefix, num_prefix)
    prefix = prompt_of(encoder)
    plain = encoder.states(texts(), LENGTHS)
    encoder.pack()
    packed = encoder.states(texts(), LENGTHS)
    torch.testing.assert_close(packed, plain, rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(gradient(packed, prefix), gradient(plain, prefix), rtol=1e-5, atol=2e-5)


def test_padding_behind_a_text_changes_nothing():
    encoder = encoder_of(small_gpt2(), 4, 4)
    encoder.pack()
    wider = torch.nn.functional.pad(texts(), (0, 2), value=7)
    torch.testing.assert_close(encoder.states(wider, LENGTHS), encoder.states(texts(), LENGTHS), rtol=1e-5, atol=5e-6)


def test_bfloat16_stays_near_float32():
    gpt2 = small_gpt2()
    encoder = encoder_of(gpt2, 4, 4)
    exact = encoder.states(texts(), LENGTHS)
    gpt2.bfloat16()
    encoder.pack()
    rounded = encoder.states(texts(), LENGTHS)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_a_gpt2_with_other_settings_is_refused():
    encoder = encoder_of(small_gpt2(activation_function="relu"), 4, 4)
    with pytest.raises(ValueError, match="usual settings"):
        encoder.pack()
