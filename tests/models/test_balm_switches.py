"""Every switch and control of BALM changes what it says, and nothing that it does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from layers.llm.loading import LLMConfig, load_backbone
from layers.prompt import WORDS
from layers.text_encoder import TextEncoder
from models.balm import BALM
from models.base import ForecastSpec
from tests.models.small_balm import SHAPE, backbone_of, forecast, small_balm, walks


def alignment_loss(model: BALM, rows: torch.Tensor) -> float:
    return model.train()(rows, **model.prompt_inputs(rows)).auxiliary_losses["alignment"].item()


def same_weights(**flags: Any) -> tuple[BALM, BALM]:
    """A default model and one with `flags`, both without dropout and with the same parameters."""
    first, second = small_balm(dropout=0.0), small_balm(dropout=0.0, **flags)
    second.load_saved_state(first.saved_state())
    return first, second


def test_the_positive_among_the_negatives_raises_the_loss_but_leaves_the_forecast():
    corrected, published = same_weights(positive_among_negatives=True)
    rows = walks()
    assert alignment_loss(published, rows) > max(alignment_loss(corrected, rows), math.log(2))
    assert torch.equal(forecast(corrected.eval(), rows), forecast(published.eval(), rows))


def test_published_llm_dropout_makes_training_random_and_evaluation_not():
    model, rows = small_balm(dropout=0.0, llm_dropout=True), walks()
    assert not torch.equal(forecast(model.train(), rows), forecast(model.train(), rows))
    assert torch.equal(forecast(model.eval(), rows), forecast(model.eval(), rows))
    frozen = small_balm(dropout=0.0)
    assert torch.equal(forecast(frozen.train(), rows), forecast(frozen.train(), rows))


def lags_of(model: BALM, rows: torch.Tensor) -> list[list[int]]:
    assert model.backbone is not None
    constants = model.prompt_inputs(rows)
    texts = [
        model.backbone.tokenizer.decode(ids[:length])
        for ids, length in zip(constants["prompt_ids"].tolist(), constants["prompt_lengths"].tolist(), strict=True)
    ]
    return [[int(lag) for lag in text.split("[")[1].split("]")[0].split(",")] for text in texts]


def test_published_lags_hold_lag_zero_and_mirrors_and_ours_do_not():
    rows = walks()
    assert all(0 in lags and max(lags) > 24 for lags in lags_of(small_balm(all_lags=True), rows))
    assert all(min(lags) >= 1 and max(lags) <= 24 for lags in lags_of(small_balm(), rows))


def test_equal_lags_are_ordered_by_the_smaller_unless_by_published_rounding():
    rows = walks(64)

    def out_of_order(model: BALM) -> int:
        """How many rows name a lag above half the look-back before its mirror."""
        lists = lags_of(model, rows)
        return sum(any(lags.index(k) > lags.index(48 - k) for k in lags if 0 < k < 24) for lags in lists)

    assert out_of_order(small_balm(all_lags=True)) == 0
    assert out_of_order(small_balm(all_lags=True, float32_statistics=True)) > 0


def test_the_published_bf16_rounding_of_the_patches_changes_the_forecast_a_little():
    exact, rounded = same_weights(patch_input_bf16=True)
    rows = walks()
    difference = (forecast(exact.eval(), rows) - forecast(rounded.eval(), rows)).abs().max().item()
    assert 0 < difference < 0.1


def test_compat_official_rounds_the_patches_only_in_bf16():
    compat, rows = small_balm(compat_official=True).eval(), walks()
    rounded = small_balm(compat_official=True, patch_input_bf16=True).eval()
    assert not torch.equal(forecast(compat, rows), forecast(rounded, rows))
    bf16 = ForecastSpec(48, 24, 1, dtype=torch.bfloat16)
    compat, rounded = (small_balm(bf16, compat_official=True, patch_input_bf16=on).eval() for on in (False, True))
    assert torch.equal(forecast(compat, rows), forecast(rounded, rows))


def test_without_scaling_the_text_states_reach_the_head_as_they_are():
    rows = walks()
    scaled, unscaled = same_weights(scaling=False)
    constants = scaled.prompt_inputs(rows)
    encoding = unscaled.encode(rows, **constants)
    assert isinstance(unscaled.text_encoder, TextEncoder)
    states = unscaled.text_encoder.states(**constants)[..., :8]
    assert torch.equal(unscaled.head_tokens(encoding)[:, : unscaled.num_states], states)
    assert not torch.allclose(scaled.head_tokens(scaled.encode(rows, **constants))[:, : scaled.num_states], states)


def test_the_alignment_weight_scales_the_loss_and_zero_removes_it_and_its_temperature():
    rows = walks()
    whole, half = same_weights(alignment_weight=0.5)
    assert alignment_loss(half, rows) == pytest.approx(alignment_loss(whole, rows) / 2)
    without = small_balm(alignment_weight=0.0)
    assert without.train()(rows, **without.prompt_inputs(rows)).auxiliary_losses == {}
    assert "log_tau" not in dict(without.named_parameters())


def test_alignment_rows_contrast_within_groups():
    whole, grouped = same_weights(alignment_rows=2)
    rows = walks(4)
    pairs = [alignment_loss(whole, rows[:2]), alignment_loss(whole, rows[2:])]
    assert alignment_loss(grouped, rows) == pytest.approx(sum(pairs) / 2, rel=1e-4)


def test_without_learnable_prompt_nothing_precedes_the_text_and_the_states_are_constant():
    model, rows = small_balm(learnable_prompt=False), walks()
    assert "text_encoder.learnable_prompt" not in dict(model.named_parameters())
    assert model.features_are_constant
    assert model.num_states == small_balm().num_states
    assert forecast(model, rows).shape == (4, 24, 1)


def test_without_learnable_prompt_a_text_shorter_than_its_states_is_filled_from_the_front():
    shape = ForecastSpec(seq_len=800, pred_len=800, num_channels=1)
    model, rows = small_balm(shape, learnable_prompt=False), walks(2, seq_len=800)
    assert model.num_states == 100
    assert model.prompt_inputs(rows)["prompt_lengths"].tolist() == [100, 100]
    together = forecast(model.eval(), rows)
    torch.testing.assert_close(forecast(model, rows[:1]), together[:1], rtol=1e-5, atol=1e-5)


def test_random_llm_keeps_everything_but_the_weights_of_the_llm(tmp_path):
    named = load_backbone(LLMConfig(llm_model="random", llm_layers=2, llm_width=16, llm_heads=2, llm_seed=3), WORDS)
    named.model.save_pretrained(tmp_path)
    named.tokenizer.save(str(tmp_path / "tokenizer.json"))
    flags = {"llm_model": str(tmp_path), "llm_width": 768, "llm_heads": 12}
    model, control = small_balm(**flags), small_balm(**flags, text_branch="random_llm")
    rows = walks()
    assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in control.named_parameters()}
    assert torch.equal(model.prompt_inputs(rows)["prompt_ids"], control.prompt_inputs(rows)["prompt_ids"])
    assert not torch.equal(backbone_of(model).wte.weight, backbone_of(control).wte.weight)
    assert (model.fingerprint()["random"], control.fingerprint()["random"]) == (False, True)


def test_without_text_branch_only_patches_are_read_and_nothing_of_the_llm_is_there():
    model, rows = small_balm(text_branch="none").train(), walks()
    assert model.prompt_inputs(rows) == {} and model.fingerprint() == {}
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"patch_embedding", "mapping", "head"}
    assert model.head.linear.in_features == 8 * model.num_patches
    assert model(rows).auxiliary_losses == {}
    assert model.diagnostics(rows) == {}
    assert not model.features_are_constant


def test_the_attention_control_trains_one_layer_in_the_llms_place():
    model, rows = small_balm(text_branch="attention").train(), walks()
    assert not any(name.startswith("text_encoder.llm.") for name, _ in model.named_parameters())
    result = model(rows, **model.prompt_inputs(rows))
    (result.values.square().mean() + result.auxiliary_losses["alignment"]).backward()
    assert all(bool(p.grad.any()) for p in model.parameters() if p.requires_grad and p.grad is not None)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        "text_encoder.word_embedding.weight",
        "text_encoder.position_embedding.weight",
    }
    assert not model.features_are_constant
    alone = forecast(model.eval(), rows[:1])
    torch.testing.assert_close(alone, forecast(model, rows)[:1], rtol=1e-5, atol=1e-5)


def test_shuffled_prompts_are_those_of_the_row_half_a_batch_away():
    own, shuffled = small_balm().eval(), small_balm(text_branch="shuffled").eval()
    rows = walks(4)
    constants = own.prompt_inputs(rows)
    others = {name: tensor[[2, 3, 0, 1]] for name, tensor in constants.items()}
    torch.testing.assert_close(shuffled(rows, **constants).values, own(rows, **others).values)
    assert not torch.allclose(shuffled(rows, **constants).values, own(rows, **constants).values)


def test_prompt_digits_shorten_prompts_and_leave_a_forecast_independent_of_its_batch():
    rows = walks(4)
    rows = torch.cat([rows, rows + 1e-5 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))])
    exact, rounded = small_balm().eval(), small_balm(prompt_digits=1).eval()
    assert rounded.prompt_inputs(rows)["prompt_lengths"].max() < exact.prompt_inputs(rows)["prompt_lengths"].min()
    together = forecast(rounded, rows)
    for index in range(8):
        alone = forecast(rounded, rows[index : index + 1])
        torch.testing.assert_close(alone, together[index : index + 1], rtol=1e-5, atol=1e-5)


def test_a_frozen_prompt_makes_text_states_constant_and_they_give_the_same_forecast():
    model, rows = small_balm(freeze_prompt_after=1, dropout=0.0), walks()
    assert not model.features_are_constant
    model.start_epoch(1)
    assert model.features_are_constant
    constants = model.prompt_inputs(rows)
    states = model.cached_features(**constants)
    assert {name: tuple(tensor.shape[1:]) for name, tensor in states.items()} == {
        "text_head": (model.num_states, 8),
        "text_mean": (16,),
        "text_deviation": (16,),
    }
    from_states, from_prompts = (model.train()(rows, **given) for given in (states, constants))
    torch.testing.assert_close(from_states.values, from_prompts.values)
    torch.testing.assert_close(from_states.auxiliary_losses["alignment"], from_prompts.auxiliary_losses["alignment"])


def test_text_states_kept_in_bf16_give_nearly_the_same_forecast():
    model, rows = small_balm(freeze_prompt_after=0, text_state_dtype="bf16").eval(), walks()
    constants = model.prompt_inputs(rows)
    states = model.cached_features(**constants)
    assert {tensor.dtype for tensor in states.values()} == {torch.bfloat16}
    torch.testing.assert_close(model(rows, **states).values, model(rows, **constants).values, rtol=0.02, atol=0.02)


def test_freezing_stops_the_prompt_from_training_and_keeps_it_in_the_checkpoint():
    never, later = small_balm(freeze_prompt_after=0), small_balm(freeze_prompt_after=2)
    trained = []
    for epoch in range(4):
        later.start_epoch(epoch)
        trained.append(later.get_parameter("text_encoder.learnable_prompt").requires_grad)
    assert trained == [True, True, False, False]
    assert not never.get_parameter("text_encoder.learnable_prompt").requires_grad
    assert (
        "text_encoder.learnable_prompt" in never.saved_state()
        and "text_encoder.learnable_prompt" in later.saved_state()
    )
    assert set(never.saved_state()) == set(small_balm().saved_state())


def test_the_version_of_the_states_changes_when_the_prompt_is_trained_or_loaded():
    model, rows = small_balm(), walks()
    versions = [model.cache_key]
    result = model.train()(rows, **model.prompt_inputs(rows))
    result.values.sum().backward()
    torch.optim.Adam(model.parameters()).step()
    versions.append(model.cache_key)
    model.load_saved_state(small_balm(seed=1).saved_state())
    versions.append(model.cache_key)
    assert len(set(versions)) == 3


def test_states_that_depend_on_the_batch_or_on_chance_are_never_constant():
    batch_or_chance: list[dict[str, Any]] = [
        {"prompt_padding": "published"},
        {"llm_dropout": True},
        {"compat_official": True},
    ]
    for flags in batch_or_chance:
        assert not small_balm(freeze_prompt_after=0, **flags).features_are_constant
    assert small_balm(freeze_prompt_after=0).features_are_constant


def test_diagnostics_hold_means_norms_and_deviations_of_both_branches():
    model, rows = small_balm().eval(), walks()
    values = model.diagnostics(rows, **model.prompt_inputs(rows))
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        **{f"{branch}_mean": (4, 16) for branch in ("time", "text", "text_scaled")},
        **{f"{branch}_{what}": (4,) for branch in ("time", "text", "text_scaled") for what in ("norm", "std")},
    }
    torch.testing.assert_close(values["text_scaled_std"], values["time_std"], rtol=1e-3, atol=1e-6)
    assert not any(value.requires_grad for value in values.values())


@pytest.mark.parametrize("text_branch", ["llm", "random_llm", "none", "attention", "shuffled", "numbers", "mlp"])
@pytest.mark.parametrize("compat_official", [False, True])
def test_every_control_trains_a_step_in_both_modes(text_branch, compat_official):
    model, rows = small_balm(SHAPE, text_branch=text_branch, compat_official=compat_official).train(), walks()
    before = {name: tensor.clone() for name, tensor in model.saved_state().items()}
    optimiser = torch.optim.Adam(model.parameter_groups(0.01))
    result = model(rows, **model.prompt_inputs(rows))
    torch.stack([result.values.square().mean(), *result.auxiliary_losses.values()]).sum().backward()
    optimiser.step()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in model.saved_state().items())
