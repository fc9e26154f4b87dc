"""BALM: its size, what trains, and that a forecast depends on its own row alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import HfArgumentParser

from layers.backbones import Backbone
from layers.llm.loading import LLMConfig, load_backbone
from layers.prompt import WORDS
from models import model_class
from models.balm import BALM, PUBLISHED, BALMConfig, num_text_states
from models.base import ForecastSpec
from tests.models.small_balm import SHAPE, backbone_of, forecast, small_balm, walks


@pytest.fixture(scope="module")
def full_size_llm() -> Backbone:
    """GPT-2's 6 blocks of 768 with a word table of GPT-2's size, here without the seconds of initialising it."""
    llm = load_backbone(LLMConfig(llm_model="random"), WORDS)
    llm.model.resize_token_embeddings(50257, mean_resizing=False)
    return llm


@pytest.mark.parametrize(
    ("pred_len", "num_states", "trainable"),
    [(96, 12, 970_081), (192, 24, 2_208_193), (336, 42, 4_618_321), (720, 64, 11_873_233)],
)
def test_trainable_parameters_are_as_many_as_published(full_size_llm, pred_len, num_states, trainable):
    model = BALM(BALMConfig(llm_model="random"), ForecastSpec(512, pred_len, 1), full_size_llm)
    full_size_llm.model.requires_grad_(False)
    assert model.num_states == num_states
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    if pred_len == 96:
        assert sum(p.numel() for p in model.parameters()) == 82_882_657
        assert model.inference_parameters() == 82_882_656


def test_exactly_these_parameters_train():
    model = small_balm()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "text_encoder.learnable_prompt",
        "log_tau",
        "patch_embedding.convolution.weight",
        "mapping.weight",
        "mapping.bias",
        "head.linear.weight",
        "head.linear.bias",
    }


def test_gradients_reach_every_trainable_parameter_and_nothing_else():
    model, rows = small_balm().train(), walks()
    result = model(rows, **model.prompt_inputs(rows))
    (result.values.square().mean() + result.auxiliary_losses["alignment"]).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name


@pytest.mark.parametrize("pred_len", [18, 24, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_forecast_the_same_alone_and_in_any_batch(pred_len, dtype):
    model = small_balm(dataclasses.replace(SHAPE, pred_len=pred_len, dtype=dtype)).eval()
    rows = walks(6)
    together = forecast(model, rows)
    assert len(set(model.prompt_inputs(rows)["prompt_lengths"].tolist())) > 1
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for index in range(6):
        alone = forecast(model, rows[index : index + 1])
        torch.testing.assert_close(alone, together[index : index + 1], rtol=tolerance, atol=tolerance)


def test_what_stands_behind_a_prompt_is_not_read():
    model, rows = small_balm().eval(), walks()
    constants = model.prompt_inputs(rows)
    filled = torch.nn.functional.pad(constants["prompt_ids"].int(), (0, 5), value=7)
    behind = torch.arange(filled.shape[1]) >= constants["prompt_lengths"][:, None]
    filled[behind] = 7
    again = model(rows, prompt_ids=filled, prompt_lengths=constants["prompt_lengths"]).values
    # Rounding may depend on the width of the padding, by as much as the processor likes.
    torch.testing.assert_close(again, model(rows, **constants).values, rtol=1e-4, atol=1e-5)


def test_published_padding_makes_a_forecast_depend_on_its_batch():
    model = small_balm(prompt_padding="published").eval()
    rows = walks(6)
    shortest = int(model.prompt_inputs(rows)["prompt_lengths"].argmin())
    alone = forecast(model, rows[shortest : shortest + 1])
    assert not torch.allclose(alone[0], forecast(model, rows)[shortest], rtol=1e-3, atol=1e-3)


def test_a_forecast_follows_the_level_and_scale_of_its_row():
    model, rows = small_balm().eval(), walks()
    constants = model.prompt_inputs(rows)
    moved = model(rows * 10 + 100, **constants).values
    torch.testing.assert_close(moved, model(rows, **constants).values * 10 + 100, rtol=1e-3, atol=1e-2)


def test_evaluation_is_deterministic_and_has_no_auxiliary_loss():
    model, rows = small_balm().eval(), walks()
    constants = model.prompt_inputs(rows)
    first, second = (model(rows, **constants) for _ in range(2))
    assert torch.equal(first.values, second.values)
    assert first.auxiliary_losses == {}


def test_the_frozen_llm_stays_in_evaluation_mode_while_the_model_trains():
    model = small_balm().train()
    assert model.patch_embedding.training
    assert not any(module.training for module in backbone_of(model).modules())


def test_statistics_scaling_and_loss_stay_in_float32_under_autocast():
    model, rows = small_balm().eval(), walks()
    constants = model.prompt_inputs(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = model(rows, **constants).values
    assert torch.equal(under_autocast, model(rows, **constants).values)


def test_the_llm_alone_is_kept_in_the_asked_precision():
    model = small_balm(dataclasses.replace(SHAPE, dtype=torch.bfloat16))
    assert {p.dtype for p in backbone_of(model).parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_the_same_seed_gives_the_same_trainable_start_whatever_the_llm():
    first, second = small_balm(), small_balm(llm_seed=1, llm_layers=1)
    assert torch.equal(first.head.linear.weight, second.head.linear.weight)
    assert not torch.equal(backbone_of(first).wte.weight, backbone_of(second).wte.weight)


def test_the_number_of_text_states_is_the_share_of_the_horizon_but_at_least_one_and_at_most_the_patches():
    patches = 12
    counts = [num_text_states(patches, ForecastSpec(96, pred_len, 1)) for pred_len in (1, 24, 96, 720)]
    assert counts == [1, 3, 12, 12]


def test_a_checkpoint_holds_all_but_the_llm_and_brings_the_forecast_back():
    model, rows = small_balm(), walks()
    state = {name: tensor.clone() for name, tensor in model.saved_state().items()}
    assert not any(name.startswith("text_encoder.llm.") for name in state)
    other = small_balm(seed=1)
    other.load_saved_state(state)
    assert torch.equal(forecast(model.eval(), rows), forecast(other.eval(), rows))


def test_the_fingerprint_is_that_of_the_llm_and_can_be_written_as_json():
    assert small_balm().fingerprint()["name"] == "random"
    assert small_balm().fingerprint() == small_balm(seed=5).fingerprint()
    assert small_balm(llm_seed=9).fingerprint()["sha256"] != small_balm().fingerprint()["sha256"]


@pytest.mark.parametrize(
    ("flags", "shape", "message"),
    [
        ({"d_ff": 17}, SHAPE, r"--d_ff must be at most the LLM's width 16, got 17"),
        ({"patch_len": 49}, SHAPE, r"--patch_len must be at most --seq_len, got 49 > 48"),
        ({}, ForecastSpec(8200, 8200, 1), r"--llm_model random has 1024 positions, but a prompt needs 1025 learnable"),
        ({"patch_len": 4}, ForecastSpec(9, 4, 1), r"--seq_len must be at least 10 for BALM's 5 lags, got 9"),
        ({"stride": 0}, SHAPE, r"--stride must be at least 1, got 0"),
        ({"dropout": 1.0}, SHAPE, r"--dropout must be at least 0 and below 1, got 1.0"),
        ({"prompt_digits": -1}, SHAPE, r"--prompt_digits must be at least 0, got -1"),
        ({"freeze_prompt_after": 1, "learnable_prompt": False}, SHAPE, r"--freeze_prompt_after has nothing to freeze"),
        ({"alignment_weight": -1.0}, SHAPE, r"--alignment_weight must be at least 0, got -1.0"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(flags, shape, message):
    with pytest.raises(ValueError, match=message) as error:
        small_balm(shape, **flags)
    assert "\n" not in str(error.value)


def test_every_flag_can_be_given_on_a_command_line():
    parser = HfArgumentParser((BALMConfig,))  # pyright: ignore[reportArgumentType]
    (config,) = parser.parse_args_into_dataclasses(
        ["--no_learnable_prompt", "--no_scaling", "--text_branch", "shuffled", "--prompt_digits", "3", "--all_lags"]
    )
    expected = {"learnable_prompt": False, "scaling": False, "text_branch": "shuffled", "prompt_digits": 3}
    assert dataclasses.replace(config) == BALMConfig(all_lags=True, **expected)


def test_compat_official_turns_every_published_behaviour_on():
    config = BALMConfig(compat_official=True)
    assert {name: getattr(config, name) for name in PUBLISHED} == PUBLISHED
    default = BALMConfig()
    assert not any(getattr(default, name) == value for name, value in PUBLISHED.items())


def test_the_registry_finds_balm_and_names_the_nearest_of_an_unknown_model():
    assert model_class("BALM") is BALM
    with pytest.raises(ValueError, match=r"--model Balmm is unknown; did you mean BALM"):
        model_class("Balmm")
    with pytest.raises(ValueError, match=r"choose one of BALM, CALF"):
        model_class("xyzzy")


def test_a_single_text_state_cannot_be_scaled_and_is_refused_with_the_way_out() -> None:
    llm = {"llm_model": "random", "llm_layers": 1, "llm_width": 16, "llm_heads": 2, "d_model": 4, "d_ff": 8}
    shape = ForecastSpec(seq_len=96, pred_len=12, num_channels=1)
    with pytest.raises(ValueError, match="--no_scaling"):
        BALM.build(BALMConfig(**llm), shape)
    assert BALM.build(BALMConfig(**llm, scaling=False), shape).num_states == 1
