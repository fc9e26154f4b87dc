"""The attention layer that stands in the LLM's place."""

import pytest
import torch

from layers.backbones import LLMConfig, load_backbone
from layers.text_attention import TextAttention


@pytest.fixture(scope="module")
def attention() -> TextAttention:
    torch.manual_seed(0)
    return TextAttention(load_backbone(LLMConfig(llm_model="random", llm_layers=1, llm_width=8, llm_heads=2)).model)


def test_states_are_the_last_of_each_row_and_padding_is_not_seen(attention):
    prefix = torch.randn(3, 8)
    ids, lengths = torch.tensor([[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]]), torch.tensor([3, 5])
    together = attention(prefix, ids, lengths, 4)
    alone = attention(prefix, ids[:1, :3], lengths[:1], 4)
    torch.testing.assert_close(together[:1], alone)
    other_padding = attention(prefix, ids.masked_fill(ids == 0, 11), lengths, 4)
    torch.testing.assert_close(together, other_padding, rtol=0, atol=0)


def test_it_is_causal(attention):
    ids, lengths = torch.tensor([[5, 6, 7, 8]]), torch.tensor([4])
    changed = attention(None, torch.tensor([[5, 6, 7, 9]]), lengths, 4)
    states = attention(None, ids, lengths, 4)
    torch.testing.assert_close(states[:, :3], changed[:, :3])
    assert not torch.allclose(states[:, 3], changed[:, 3])


def test_it_trains_its_own_layer_but_not_the_embeddings(attention):
    trainable = {name for name, parameter in attention.named_parameters() if parameter.requires_grad}
    assert trainable == {f"{layer}.{part}" for layer in ("packed", "output", "norm") for part in ("weight", "bias")}
