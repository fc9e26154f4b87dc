"""GPT-2's hidden states by our own loop over its blocks, and the twin that shares its matrices."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2Model

import layers.cross_modal.branches
from layers.backbones import all_states
from layers.cross_modal.branches import frozen_twin


def tiny_gpt2(**changes) -> GPT2Model:
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "n_positions": 12, "n_embd": 16, "n_head": 2, "n_layer": 3}
    config = GPT2Config(**{**sizes, "bos_token_id": 0, "eos_token_id": 0, **changes})
    model = GPT2Model(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(
    "changes",
    [{}, {"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}, {"activation_function": "relu"}],
    ids=str,
)
def test_the_features_are_the_hidden_states_of_the_library(changes):
    model = tiny_gpt2(**changes)
    tokens = torch.randn(3, 5, 16)
    expected = model(inputs_embeds=tokens, output_hidden_states=True).hidden_states
    features = all_states(frozen_twin(model), tokens)
    assert len(features) == len(expected) == 4
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_features_have_the_gradients_of_the_library():
    model = tiny_gpt2()
    gradients = []
    for states in (
        lambda x: model(inputs_embeds=x).last_hidden_state,
        lambda x: all_states(frozen_twin(model), x)[-1],
    ):
        tokens = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        states(tokens).square().sum().backward()
        gradients.append(tokens.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_a_token_sees_no_later_token():
    twin = frozen_twin(tiny_gpt2())
    tokens = torch.randn(1, 5, 16)
    changed = tokens.clone()
    changed[:, 3] = torch.randn(16)
    difference = (all_states(twin, changed)[-1] - all_states(twin, tokens)[-1]).abs().amax(-1)[0]
    assert (difference[:3] < 1e-5).all()
    assert (difference[3:] > 1e-3).all()


def test_a_twin_shares_the_matrices_and_owns_norms_and_positions():
    model = tiny_gpt2()
    twin = frozen_twin(model)
    ours, theirs = dict(twin.named_parameters()), dict(model.named_parameters())
    shared = {name for name, parameter in ours.items() if parameter is theirs[name]}
    assert shared == {name for name in theirs if ".attn." in name or ".mlp." in name}
    assert set(theirs) - set(ours) == {"wte.weight"}
    for name in ("ln_f.weight", "wpe.weight"):
        ours[name].data += 1
        assert not torch.equal(theirs[name], ours[name])


def test_in_training_mode_the_dropout_of_gpt2_is_active():
    twin = frozen_twin(tiny_gpt2()).train()
    tokens = torch.randn(1, 5, 16)
    torch.manual_seed(3)
    first = all_states(twin, tokens)[-1]
    assert not torch.equal(first, all_states(twin, tokens)[-1])
    torch.manual_seed(3)
    torch.testing.assert_close(all_states(twin, tokens)[-1], first)


def test_many_tokens_on_a_cpu_get_the_same_gradients_without_kept_attention_maps(monkeypatch):
    twin = frozen_twin(tiny_gpt2()).train()
    tokens = torch.randn(2, 7, 16, requires_grad=True)
    results, saved = [], []
    for many in (100, 7):
        monkeypatch.setattr(layers.cross_modal.branches, "MANY_TOKENS", many)
        torch.manual_seed(4)
        kept: list[torch.Size] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor.shape) or tensor, lambda t: t
        ):
            features = all_states(twin, tokens)
        (gradient,) = torch.autograd.grad(features[-1].square().sum(), tokens)
        results.append((features[-1].detach(), gradient))
        saved.append(sum(shape[-2:] == (7, 7) for shape in kept if len(shape) >= 3))
    torch.testing.assert_close(results[0], results[1])
    assert saved[0] > 0 and saved[1] == 0
