"""Every family through the one adapter: equal to transformers' own forward, cut to its first blocks, row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layers.backbones import Backbone, all_states, wrap_backbone
from layers.llm.loading import LLMConfig, load_backbone
from layers.prompt import PromptWriter
from layers.text_encoder import TextEncoder
from tests.layers.llm.small_models import CAUSAL, KINDS, NUM_POSITIONS, TOKENIZER, save_model, small_model

LENGTHS = torch.tensor([9, 14, 7])


def backbone_of(kind: str, dtype: torch.dtype = torch.float32) -> Backbone:
    return wrap_backbone(small_model(kind), TOKENIZER, name=kind, is_random=True, dtype=dtype)


def texts() -> Tensor:
    return torch.randint(3, 50, (3, 14), generator=torch.Generator().manual_seed(1))


def prompt_of(backbone: Backbone, num_positions: int = 4) -> Tensor:
    return torch.randn(num_positions, backbone.width, generator=torch.Generator().manual_seed(2))


def encoder_of(kind: str, dtype: torch.dtype = torch.float32) -> TextEncoder:
    backbone = backbone_of(kind, dtype)
    encoder = TextEncoder(backbone, PromptWriter(TOKENIZER), num_states=4, d_ff=8)
    encoder.learnable_prompt = torch.nn.Parameter(prompt_of(backbone).to(dtype))
    return encoder.eval()


def trained_prompt(encoder: TextEncoder) -> Tensor:
    assert encoder.learnable_prompt is not None
    return encoder.learnable_prompt


def plain_states(encoder: TextEncoder) -> Tensor:
    """The last states of every row by a forward of its own over [prompt; text], nothing shared, padded or masked."""
    model, prompt = encoder.backbone.model, trained_prompt(encoder)
    rows = []
    for ids, length in zip(texts(), LENGTHS.tolist(), strict=True):
        words = model.get_input_embeddings()(ids[:length])
        rows.append(model(inputs_embeds=torch.cat([prompt, words])[None], use_cache=False).last_hidden_state[0, -4:])
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_read_as_the_model_itself_reads_its_ids(kind):
    backbone, ids = backbone_of(kind), texts()
    mask = torch.arange(14) < LENGTHS[:, None]
    plain = backbone.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    ours = backbone.states(backbone.embed(ids), LENGTHS)
    torch.testing.assert_close(ours[mask], plain[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_states_behind_a_learnable_prompt_equal_a_forward_of_every_row(kind):
    encoder = encoder_of(kind)
    torch.testing.assert_close(encoder.states(texts(), LENGTHS), plain_states(encoder), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_prompt_equals_that_of_a_forward_of_every_row(kind):
    encoder = encoder_of(kind, torch.float64)
    weights = torch.randn(3, 4, encoder.backbone.width, generator=torch.Generator().manual_seed(3))
    gradients = [
        torch.autograd.grad((states * weights).sum(), trained_prompt(encoder))[0]
        for states in (encoder.states(texts(), LENGTHS), plain_states(encoder))
    ]
    # `states` returns float32, and rotary embeddings and norms of most families compute in float32.
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_prompt_is_read_once_for_all_rows_and_every_step_has_a_cache_of_its_own(kind, monkeypatch):
    encoder, seen = encoder_of(kind), []
    model = encoder.backbone.model
    forward = model.forward

    def counting(**inputs):
        seen.append(inputs["inputs_embeds"].shape[:2])
        return forward(**inputs)

    # The name of the cache's argument is read from the signature of the class, which stays.
    monkeypatch.setattr(model, "forward", counting)
    first = encoder.states(texts(), LENGTHS)
    torch.testing.assert_close(encoder.states(texts(), LENGTHS), first, rtol=0, atol=0)
    assert seen == [(1, 4), (3, 14)] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_load_cut_to_its_first_blocks_ends_with_the_final_norm_on_the_last_of_them(kind, tmp_path):
    whole = backbone_of(kind).model
    save_model(kind, tmp_path)
    cut = load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=2))
    assert cut.num_blocks == 2
    tokens = cut.embed(texts())
    # The whole model's last states but one are block 2's output before any final norm.
    inside = whole(input_ids=texts(), use_cache=False, output_hidden_states=True).hidden_states[2]
    final: list[Any] = [
        module
        for name, module in cut.model.named_modules()
        if name.rpartition(".")[2] in ("ln_f", "norm", "final_layer_norm") and "layers." not in name
    ]
    expected = final[0](inside) if final and final[0] is not None else inside
    if kind == "opt_350m":
        expected = cut.model.get_submodule("decoder.project_out")(inside)
    torch.testing.assert_close(cut.states(tokens), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_all_states_are_those_before_the_first_block_and_after_each(kind):
    backbone = backbone_of(kind)
    tokens = prompt_of(backbone, 6)[None]
    states = all_states(backbone.model, tokens)
    assert len(states) == 4
    torch.testing.assert_close(states[-1], backbone.states(tokens), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_positions_are_those_that_the_model_can_use(kind):
    backbone = backbone_of(kind)
    assert backbone.num_positions == NUM_POSITIONS
    backbone.states(prompt_of(backbone, NUM_POSITIONS)[None])


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_keep_the_architecture_and_have_a_seed(kind, tmp_path):
    save_model(kind, tmp_path)
    config = LLMConfig(llm_model=str(tmp_path), llm_layers=2)
    pretrained, control = load_backbone(config), load_backbone(config, random_weights=True)
    other = load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=2, llm_seed=1), random_weights=True)
    shapes = [{name: p.shape for name, p in each.model.named_parameters()} for each in (pretrained, control)]
    assert shapes[0] == shapes[1]
    assert len({each.fingerprint["sha256"] for each in (pretrained, control, other)}) == 3
    assert (pretrained.fingerprint["random"], control.fingerprint["random"]) == (False, True)


@pytest.mark.parametrize("kind", ["bert", "llama", "gemma", "opt"])
def test_the_word_table_holds_what_the_model_reads(kind):
    backbone, ids = backbone_of(kind), texts()
    torch.testing.assert_close(backbone.word_table()[ids], backbone.embed(ids), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_learnt_or_rotary(kind):
    learnt = kind in ("gpt2", "opt", "opt_350m", "bert", "roberta", "xlm-roberta")
    table = backbone_of(kind).position_table()
    assert (None if table is None else len(table)) == (NUM_POSITIONS if learnt else None)
