"""The text encoder shares its learnable prompt between rows and still equals a whole forward of every row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig, BertModel

from layers.backbones import Backbone, wrap_backbone
from layers.controls.texts import AttentionTextEncoder
from layers.llm.tokenizer import byte_level_tokenizer
from layers.prompt import PromptWriter
from layers.text_encoder import Padding, TextEncoder
from tests.reference_text import plain_states, small_gpt2

LENGTHS = torch.tensor([9, 14, 7, 14, 11, 5])
TOKENIZER: Tokenizer = byte_level_tokenizer()


def texts(width: int = 14) -> Tensor:
    """Six rows of ids: rows 0, 1, 4 begin alike, row 3 repeats row 1."""
    ids = torch.randint(0, 50, (6, width), generator=torch.Generator().manual_seed(1))
    ids[[1, 4], :4] = ids[0, :4]
    ids[3] = ids[1]
    return ids


def encoder_of(
    gpt2: Any, num_prefix: int, num_states: int, *, kind: type[TextEncoder] = TextEncoder, **options: Any
) -> TextEncoder:
    """An encoder over `gpt2` whose learnable prompt has `num_prefix` positions (0: none)."""
    backbone = Backbone(gpt2, TOKENIZER, {"name": "small"})
    encoder = kind(
        backbone, PromptWriter(TOKENIZER), num_states=num_states, d_ff=8, learnable_prompt=num_prefix > 0, **options
    )
    if num_prefix:
        prompt = torch.randn(num_prefix, backbone.width, generator=torch.Generator().manual_seed(2))
        encoder.learnable_prompt = torch.nn.Parameter(prompt)
    return encoder.eval()


def prompt_of(encoder: TextEncoder) -> Tensor:
    assert encoder.learnable_prompt is not None
    return encoder.learnable_prompt


def gradient(states: Tensor, prefix: Tensor) -> Tensor:
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(3))
    return torch.autograd.grad((states * weights).sum(), prefix, retain_graph=True)[0]


def assert_equal_to_plain(gpt2: Any, num_prefix: int, num_states: int, padding: Padding = "aligned") -> None:
    encoder, published = encoder_of(gpt2, num_prefix, num_states, padding=padding), padding == "published"
    prefix = prompt_of(encoder)
    ours = encoder.states(texts(), LENGTHS)
    plain = plain_states(gpt2, prefix, texts(), LENGTHS, num_states, published=published)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(gradient(ours, prefix), gradient(plain, prefix), rtol=1e-5, atol=2e-5)


@pytest.fixture(autouse=True)
def pad_with_zero(monkeypatch):
    """The small GPT-2 has 50 words: it is padded with word 0."""
    monkeypatch.setattr(Backbone, "pad_id", 0)


@pytest.mark.parametrize("padding", ["aligned", "published"])
@pytest.mark.parametrize("num_blocks", [1, 2, 4])
def test_states_and_the_gradient_of_the_prompt_equal_a_forward_of_every_row(num_blocks, padding):
    assert_equal_to_plain(small_gpt2(num_blocks), 4, 4, padding)


@pytest.mark.parametrize("padding", ["aligned", "published"])
def test_states_that_reach_back_into_the_learnable_prompt_equal_a_forward_of_every_row(padding):
    assert_equal_to_plain(small_gpt2(), 12, 12, padding)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"n_inner": 48},
    ],
    ids=str,
)
def test_a_gpt2_with_other_settings_is_computed_as_transformers_does(settings):
    assert_equal_to_plain(small_gpt2(**settings), 4, 4)


def test_the_gradient_is_exact_in_float64():
    gpt2 = small_gpt2().double()
    encoder = encoder_of(gpt2, 4, 4).double()
    prefix = prompt_of(encoder)
    ours = encoder.last_states(texts(), LENGTHS)
    plain = plain_states(gpt2, prefix, texts(), LENGTHS, 4)
    torch.testing.assert_close(gradient(ours, prefix), gradient(plain, prefix), rtol=1e-9, atol=1e-9)


def test_the_learnable_prompt_is_read_once_for_all_rows():
    gpt2, read = small_gpt2(), []
    gpt2.h[0].register_forward_pre_hook(lambda _, inputs: read.append(tuple(inputs[0].shape[:2])))
    encoder_of(gpt2, 4, 4).states(texts(), LENGTHS)
    assert read == [(1, 4), (6, 14)]


def test_without_learnable_prompt_the_states_are_those_of_the_text_alone():
    gpt2, nothing = small_gpt2(), torch.zeros(0, 32)
    ours = encoder_of(gpt2, 0, 5).states(texts(), LENGTHS)
    torch.testing.assert_close(ours, plain_states(gpt2, nothing, texts(), LENGTHS, 5))


@pytest.mark.parametrize("kind", [TextEncoder, AttentionTextEncoder])
def test_a_row_has_the_same_states_alone_as_in_any_batch(kind):
    encoder, ids = encoder_of(small_gpt2(), 4, 4, kind=kind), texts()
    together = encoder.states(ids, LENGTHS)
    for row in range(len(ids)):
        alone = encoder.states(ids[row : row + 1], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("kind", [TextEncoder, AttentionTextEncoder])
def test_what_stands_behind_the_end_of_a_text_is_never_read(kind):
    encoder = encoder_of(small_gpt2(), 4, 4, kind=kind)
    ids, wide = texts(), torch.full((6, 20), 49)
    wide[:, :14] = ids.masked_fill(torch.arange(14) >= LENGTHS[:, None], 17)
    assert encoder.states(wide, LENGTHS).equal(encoder.states(ids, LENGTHS))


def test_an_encoder_model_sees_both_directions_and_no_padding():
    """Bidirectional models get the learnable prompt in front of each row, and a mask."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    bert = BertModel(BertConfig(**sizes, intermediate_size=64, max_position_embeddings=40), add_pooling_layer=False)
    bert.eval().requires_grad_(False)
    encoder, ids = encoder_of(bert, 4, 4), texts()
    prefix, together = prompt_of(encoder), encoder.states(ids, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        words = bert.embeddings.word_embeddings(ids[row : row + 1, :length])
        states = bert(inputs_embeds=torch.cat([prefix[None], words], dim=1)).last_hidden_state
        torch.testing.assert_close(together[row], states[0, -4:], rtol=1e-5, atol=1e-5)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 50
    assert not torch.allclose(encoder.states(changed, LENGTHS)[0, 0], together[0, 0])


def test_nothing_keeps_a_graph_when_the_learnable_prompt_is_frozen():
    encoder = encoder_of(small_gpt2(), 4, 4)
    encoder.train_prompt(False)
    assert not encoder.states(texts(), LENGTHS).requires_grad


@pytest.mark.parametrize("num_prefix", [4, 12])
def test_bf16_weights_give_float32_states_and_gradients_near_those_of_float32(num_prefix):
    gpt2, exact_encoder = small_gpt2(), encoder_of(small_gpt2(), num_prefix, num_prefix)
    exact = exact_encoder.states(texts(), LENGTHS)
    exact_gradient = gradient(exact, prompt_of(exact_encoder))
    encoder = encoder_of(gpt2.bfloat16(), num_prefix, num_prefix)
    rounded = encoder.states(texts(), LENGTHS)
    rounded_gradient = gradient(rounded, prompt_of(encoder))
    assert rounded.dtype == rounded_gradient.dtype == torch.float32
    assert (rounded - exact).norm() < 0.02 * exact.norm()
    assert (rounded_gradient - exact_gradient).norm() < 0.05 * exact_gradient.norm()


def test_autocast_around_the_encoder_changes_nothing():
    encoder = encoder_of(small_gpt2(), 4, 4)
    expected = encoder.states(texts(), LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.states(texts(), LENGTHS).equal(expected)


def test_dropout_draws_anew_for_every_row_and_leaves_the_llm_in_evaluation_mode():
    gpt2 = small_gpt2()
    encoder = encoder_of(gpt2, 4, 4, padding="published", dropout=True).train()
    torch.manual_seed(0)
    states = encoder.states(texts(), LENGTHS)
    assert not torch.allclose(states[1], states[3])
    assert not gpt2.training
    assert encoder.eval().states(texts(), LENGTHS).equal(encoder.states(texts(), LENGTHS))


@pytest.mark.parametrize("padding", ["aligned", "published"])
def test_dropout_of_rate_zero_equals_a_forward_of_every_row(padding):
    gpt2 = small_gpt2()
    for module in gpt2.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    encoder = encoder_of(gpt2, 4, 4, padding=padding, dropout=True).train()
    prefix, states = prompt_of(encoder), encoder.states(texts(), LENGTHS)
    plain = plain_states(gpt2, prefix, texts(), LENGTHS, 4, published=padding == "published")
    torch.testing.assert_close(states, plain, rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(gradient(states, prefix), gradient(plain, prefix), rtol=1e-5, atol=2e-5)


def test_the_attention_control_is_causal_and_trains_its_own_layer_alone():
    encoder = encoder_of(small_gpt2(), 0, 4, kind=AttentionTextEncoder)
    ids, lengths = torch.tensor([[5, 6, 7, 8]]), torch.tensor([4])
    changed = encoder.states(torch.tensor([[5, 6, 7, 9]]), lengths)
    states = encoder.states(ids, lengths)
    torch.testing.assert_close(states[:, :3], changed[:, :3])
    assert not torch.allclose(states[:, 3], changed[:, 3])
    trainable = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trainable == {f"{layer}.{part}" for layer in ("packed", "output", "norm") for part in ("weight", "bias")}


def test_wrapping_replaces_the_unfused_gelu_by_the_same_function():
    gpt2 = small_gpt2()
    gpt2.resize_token_embeddings(TOKENIZER.get_vocab_size())
    embeddings = torch.randn(2, 5, 32)
    before = gpt2(inputs_embeds=embeddings).last_hidden_state
    backbone = wrap_backbone(gpt2, TOKENIZER, name="small", is_random=True)
    assert any(isinstance(module, torch.nn.GELU) for module in gpt2.modules())
    torch.testing.assert_close(backbone.states(embeddings, torch.tensor([5, 5])), before, rtol=1e-5, atol=1e-5)
