"""Prompts read once are what the language model would have read in one pass, for every causal family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from layers.backbones import Backbone
from layers.time_llm.row_prompts import read_rows, states_after
from tests.layers.llm.small_models import CAUSAL, TOKENIZER, small_model

LENGTHS = torch.tensor([7, 3, 5])
COMMON, PATCHES = 4, 6


def inputs(backbone: Backbone) -> tuple[Tensor, Tensor, Tensor]:
    """A common beginning, the rest of three prompts (padded with noise), and patches."""
    generator = torch.Generator().manual_seed(0)
    dtype = backbone.word_table().dtype
    shapes = ((COMMON,), (3, int(LENGTHS.max())), (3, PATCHES))
    common, own, patches = (
        torch.randn(*shape, backbone.width, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes
    )
    return common, own, patches.requires_grad_()


def in_one_pass(backbone: Backbone, common: Tensor, own: Tensor, patches: Tensor) -> Tensor:
    """States of the patches when each row runs alone, without padding, kept keys or common beginning."""
    rows = []
    for row, length in enumerate(LENGTHS):
        whole = torch.cat([common, own[row, :length], patches[row]])[None]
        rows.append(backbone.states(whole, torch.tensor([whole.shape[1]]))[0, -PATCHES:])
    return torch.stack(rows)


def behind_kept(backbone: Backbone, common: Tensor, own: Tensor, patches: Tensor, *, shares: bool = True) -> Tensor:
    cache: DynamicCache | None = None
    if shares:
        with torch.no_grad():
            _, cache = backbone.read_prefix(common)
        lengths = LENGTHS
    else:
        own, lengths = torch.cat([common.expand(len(own), -1, -1), own], dim=1), LENGTHS + COMMON
    kept = read_rows(backbone, own, common=cache)
    assert not kept.requires_grad
    return states_after(backbone, patches, kept, lengths, common=cache)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("shares", [True, False])
def test_states_and_gradients_of_the_patches_are_those_of_one_pass_per_row(kind, shares):
    backbone = Backbone(small_model(kind).double(), TOKENIZER, {"name": kind})
    common, own, patches = inputs(backbone)
    plain = in_one_pass(backbone, common, own, patches)
    kept = behind_kept(backbone, common, own, patches, shares=shares)
    # Gemma 2's attention takes its softmax in float32.
    close = 1e-5 if kind == "gemma2" else 1e-8
    torch.testing.assert_close(kept, plain, atol=close, rtol=close)
    weights = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = [torch.autograd.grad((states * weights).sum(), patches)[0] for states in (plain, kept)]
    torch.testing.assert_close(found[1], found[0], atol=close, rtol=close)


def test_what_is_kept_of_a_row_is_the_same_for_any_batch_and_leaves_the_common_beginning_as_it_was():
    backbone = Backbone(small_model("gpt2"), TOKENIZER, {"name": "gpt2"})
    common, own, _ = inputs(backbone)
    _, cache = backbone.read_prefix(common)
    together = read_rows(backbone, own, common=cache)
    alone = read_rows(backbone, own[1:2], common=cache)
    assert together.shape == (3, 7, 2 * backbone.num_blocks, 2, backbone.width // 2)
    torch.testing.assert_close(alone, together[1:2])
    assert cache.get_seq_length() == COMMON
