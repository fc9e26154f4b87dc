"""Frozen layers by hand equal torch's own, forward and backward, and keep no more than they say."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from layers.fast_gpt2 import frozen_layers
from layers.fast_gpt2 import operations as frozen_gpt2
from layers.fast_gpt2.frozen_layers import FrozenConv1D, frozen_mlp


def twins(dtype: torch.dtype = torch.float32) -> tuple[GPT2MLP, GPT2MLP]:
    """An MLP of torch's own layers, and the same with frozen ones."""
    torch.manual_seed(0)
    plain = GPT2MLP(64, GPT2Config(n_embd=16, resid_pdrop=0.0))
    plain.act = nn.GELU(approximate="tanh")
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.3)
    plain = plain.to(dtype).requires_grad_(False)
    ours = copy.deepcopy(plain)
    for layer in (ours.c_fc, ours.c_proj):
        layer.__class__ = FrozenConv1D
    return plain, ours


def run(function, width: int = 16, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, 5, width, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    y = function(x)
    y.float().square().sum().backward()
    assert x.grad is not None and x.grad.dtype == x.dtype
    return y.detach(), x.grad


@pytest.mark.parametrize("tokens_at_once", [4, 240])
def test_an_mlp_equals_torchs_own(monkeypatch, tokens_at_once):
    monkeypatch.setattr(frozen_gpt2, "MLP_TOKENS", tokens_at_once)
    plain, ours = twins()
    for expected, found in zip(run(plain), run(lambda x: frozen_mlp(ours, x)), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    with torch.no_grad():
        x = torch.randn(2, 16)
        torch.testing.assert_close(frozen_mlp(ours, x), plain(x), atol=1e-5, rtol=1e-5)


def test_a_linear_map_equals_torchs_own():
    plain, ours = twins()
    for expected, found in zip(run(plain.c_fc), run(ours.c_fc), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_the_errors_are_those_of_bfloat16():
    exact, _ = twins()
    plain, ours = twins(torch.bfloat16)
    reference = run(exact)
    of_torch = run(plain, dtype=torch.bfloat16)
    of_ours = run(lambda x: frozen_mlp(ours, x), dtype=torch.bfloat16)
    for expected, theirs, found in zip(reference, of_torch, of_ours, strict=True):
        allowed = 2 * (theirs.float() - expected).abs().mean()
        assert (found.float() - expected).abs().mean() < allowed


def test_what_is_trained_after_all_gets_its_gradient():
    _, ours = twins()
    ours.requires_grad_(True)
    run(lambda x: frozen_mlp(ours, x))
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_float64_stays_float64():
    plain, ours = twins(torch.float64)
    for expected, found in zip(
        run(plain, dtype=torch.float64), run(lambda x: frozen_mlp(ours, x), dtype=torch.float64), strict=True
    ):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected)


def test_another_activation_is_torchs():
    plain, ours = twins()
    plain.act = ours.act = nn.ReLU()
    for expected, found in zip(run(plain), run(lambda x: frozen_mlp(ours, x)), strict=True):
        torch.testing.assert_close(found, expected)


def test_an_mlp_keeps_one_wide_tensor_for_its_gradient_and_none_without():
    _, ours = twins()
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        frozen_mlp(ours, torch.randn(7, 16, requires_grad=True))
        assert kept == [(7, 64)]
        frozen_mlp(ours, torch.randn(7, 16))
    assert kept == [(7, 64)]


def test_torch_compile_gets_torchs_own_layers(monkeypatch):
    _, ours = twins()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(frozen_layers, "_MLP", None)
    monkeypatch.setattr(frozen_layers, "_Linear", None)
    assert frozen_mlp(ours, torch.randn(2, 16)).shape == (2, 16)


def test_the_frozen_map_is_one_that_lora_knows():
    assert issubclass(FrozenConv1D, Conv1D)
