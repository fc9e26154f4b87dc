"""CALF as a whole: what it trains, what it computes when, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import nn
from transformers import GPT2Config, GPT2Model

import models.calf
from layers.backbones import Backbone
from models.base import ForecastSpec
from models.calf import CALF, CALFConfig

SEQ_LEN, PRED_LEN, NUM_CHANNELS = 12, 4, 3


def llm_of(**sizes) -> Backbone:
    gpt2 = GPT2Model(GPT2Config(bos_token_id=0, eos_token_id=0, **sizes)).requires_grad_(False)
    return Backbone(gpt2, Tokenizer(BPE()), {"name": "tiny", "sha256": "0"})


def tiny_llm() -> Backbone:
    return llm_of(vocab_size=30, n_positions=8, n_embd=16, n_head=2, n_layer=2)


def tiny_calf(
    *, season_length: int = 1, dtype: torch.dtype = torch.float32, llm: Backbone | None = None, **flags
) -> CALF:
    torch.manual_seed(0)
    spec = ForecastSpec(SEQ_LEN, PRED_LEN, NUM_CHANNELS, season_length=season_length, dtype=dtype)
    words = torch.randn(5, 16)
    model = CALF(CALFConfig(**flags), spec, backbone=llm or tiny_llm(), words=words, feed_forward=32)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            # LoRA starts at zero, where half of its gradients vanish.
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def look_back() -> torch.Tensor:
    return torch.randn(5, SEQ_LEN, NUM_CHANNELS, generator=torch.Generator().manual_seed(1))


def without_dropout(model: CALF) -> CALF:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


@pytest.fixture(scope="module")
def published_size() -> CALF:
    with torch.device("meta"):
        llm = llm_of(n_layer=6)
        return CALF(CALFConfig(), ForecastSpec(96, 96, 7), backbone=llm, words=torch.zeros(500, 768))


def test_the_parameter_counts_are_the_published_ones(published_size):
    trainable = sum(p.numel() for p in published_size.parameters() if p.requires_grad)
    assert trainable == 18_022_496
    # As published, both branches hold all their weights, and each an unread word table.
    held = sum(p.numel() for _, p in published_size.named_parameters(remove_duplicate=False))
    assert held + 2 * 50257 * 768 == 180_254_816
    groups = published_size.parameter_groups(5e-4)
    assert [sum(p.numel() for p in group["params"]) for group in groups] == [5_040_224, 12_982_272]


def test_in_memory_there_is_one_copy_of_the_frozen_weights_and_no_word_table(published_size):
    assert sum(p.numel() for p in published_size.parameters()) == 60_551_264
    assert published_size.inference_parameters() == 49_124_960
    assert not [name for name in published_size.state_dict() if "wte" in name]


def test_exactly_these_kinds_of_parameters_are_trained():
    model = tiny_calf()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    kinds = ("match.", "head.", "temporal_projections.", "textual_projections.")
    in_branches = {name for name in trained if not name.startswith(kinds)}
    assert {name for name in in_branches if name.startswith("textual")} == {"textual.wpe.weight"}
    temporal = {name.removeprefix("temporal.base_model.model.") for name in in_branches if name.startswith("temporal")}
    assert {name for name in temporal if not name.startswith("h.")} == {"wpe.weight", "ln_f.weight", "ln_f.bias"}
    assert {name.removeprefix("h.1.") for name in temporal if name.startswith("h.1.")} == {
        "ln_1.weight",
        "ln_1.bias",
        "ln_2.weight",
        "ln_2.bias",
        "attn.c_attn.lora_A.default.weight",
        "attn.c_attn.lora_B.default.weight",
    }


def test_a_step_changes_every_trained_parameter_and_no_frozen_one(look_back):
    model = tiny_calf().train()
    before = {name: p.detach().clone() for name, p in model.named_parameters(remove_duplicate=False)}
    optimiser = torch.optim.Adam(model.parameter_groups(1e-2))
    forecast = model(look_back)
    (forecast.values.abs().mean() + sum(forecast.auxiliary_losses.values())).backward()
    optimiser.step()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
        assert (parameter.grad is None) != parameter.requires_grad, name


def test_the_parameter_groups_are_those_of_the_published_names():
    model = tiny_calf(projection_learning_rate=3e-5)
    scheduled, constant = model.parameter_groups(7e-4)
    assert (scheduled["lr"], scheduled["scheduled"]) == (7e-4, True)
    assert (constant["lr"], constant["scheduled"]) == (3e-5, False)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    assert {id(p) for group in (scheduled, constant) for p in group["params"]} == set(names)
    for parameter in constant["params"]:
        assert "projections" in names[id(parameter)] or "_proj" in names[id(parameter)]
    for parameter in scheduled["params"]:
        assert "_proj" not in names[id(parameter)]


def test_evaluation_calls_neither_the_textual_branch_nor_a_projection(look_back, monkeypatch):
    model = tiny_calf().eval()
    branches = []
    plain = models.calf.all_states
    monkeypatch.setattr(models.calf, "all_states", lambda gpt2, tokens: branches.append(gpt2) or plain(gpt2, tokens))
    projected = []
    for projection in [*model.temporal_projections, *model.textual_projections]:
        projection.register_forward_hook(lambda *_: projected.append(1))
    forecast = model(look_back)
    assert branches == [model.temporal_llm]
    assert projected == []
    assert forecast.auxiliary_losses == {}
    model.train()(look_back)
    assert branches == [model.temporal_llm, model.temporal_llm, model.textual]
    assert len(projected) == 6


def test_the_inference_parameters_are_those_that_a_forecast_reads(look_back):
    model = tiny_calf().requires_grad_(True).eval()
    model(look_back).values.square().sum().backward()
    read = sum(p.numel() for p in model.parameters() if p.grad is not None)
    assert model.inference_parameters() == read


def test_a_window_is_forecast_the_same_alone_and_in_a_batch(look_back):
    model = tiny_calf().eval()
    torch.testing.assert_close(model(look_back[2:3]).values, model(look_back).values[2:3], atol=1e-5, rtol=1e-5)


def test_the_forecast_follows_the_level_and_scale_of_the_look_back(look_back):
    model = tiny_calf().eval()
    expected = model(look_back).values * 100 + 7
    torch.testing.assert_close(model(look_back * 100 + 7).values, expected, atol=1e-2, rtol=1e-3)


def test_the_losses_carry_their_weights(look_back):
    plain = without_dropout(tiny_calf(feature_weight=1.0, output_weight=1.0)).train()(look_back).auxiliary_losses
    weighted = without_dropout(tiny_calf(feature_weight=0.5, output_weight=3.0)).train()(look_back).auxiliary_losses
    torch.testing.assert_close(weighted["feature"], 0.5 * plain["feature"])
    torch.testing.assert_close(weighted["output"], 3.0 * plain["output"])
    assert plain["feature"] > 0 and plain["output"] > 0


def test_a_checkpoint_holds_what_is_trained_and_restores_the_forecast(look_back):
    llm = tiny_llm()
    trained, fresh = tiny_calf(llm=llm), tiny_calf(llm=llm)
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter)
    trained.words += 1
    state = trained.saved_state()
    num_trained = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    assert sum(tensor.numel() for tensor in state.values()) == num_trained + trained.words.numel()
    assert not torch.allclose(fresh.eval()(look_back).values, trained.eval()(look_back).values)
    fresh.load_saved_state(state)
    torch.testing.assert_close(fresh(look_back).values, trained(look_back).values)
    torch.testing.assert_close(fresh.words, trained.words)


def test_without_lora_the_attention_stays_as_it_is(look_back):
    model = tiny_calf(lora=False)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert model.temporal_llm.get_parameter("ln_f.weight").requires_grad
    assert set(model.train()(look_back).auxiliary_losses) == {"output", "feature"}


@pytest.mark.parametrize("flags", [{"textual_branch": "none"}, {"feature_weight": 0.0, "output_weight": 0.0}], ids=str)
def test_without_alignment_there_is_no_textual_branch(look_back, flags):
    model = tiny_calf(**flags)
    assert not [name for name, _ in model.named_parameters() if "textual" in name or "cross_attention" in name]
    assert model.train()(look_back).auxiliary_losses == {}
    assert "words" not in model.saved_state()
    full = without_dropout(tiny_calf())
    model.load_state_dict({k: v for k, v in full.state_dict().items() if k in model.state_dict()})
    torch.testing.assert_close(model.eval()(look_back).values, full.eval()(look_back).values)


def test_a_feature_weight_of_zero_removes_the_projections_only(look_back):
    model = tiny_calf(feature_weight=0.0)
    assert not [name for name, _ in model.named_parameters() if "projections" in name]
    assert set(model.train()(look_back).auxiliary_losses) == {"output"}


def test_the_output_loss_of_m4_counts_in_seasonal_naive_errors(look_back):
    plain = without_dropout(tiny_calf()).train()(look_back).auxiliary_losses["output"]
    scaled = without_dropout(tiny_calf(output_loss="mase", season_length=2)).train()
    naive = (look_back[:, 2:] - look_back[:, :-2]).abs().mean()
    assert 0.3 < scaled(look_back).auxiliary_losses["output"] * naive / plain < 3
    torch.testing.assert_close(
        scaled(look_back * 10).auxiliary_losses["output"],
        scaled(look_back).auxiliary_losses["output"],
        rtol=1e-3,
        atol=0,
    )


def test_frozen_matrices_are_kept_in_the_precision_of_the_task(look_back):
    model = tiny_calf(dtype=torch.bfloat16).train()
    dtypes = {p.dtype for p in model.parameters() if p.requires_grad}
    assert dtypes == {torch.float32}
    assert model.get_parameter("textual.h.0.mlp.c_fc.weight").dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        forecast = model(look_back)
    assert forecast.values.dtype == torch.float32
    assert {loss.dtype for loss in forecast.auxiliary_losses.values()} == {torch.float32}
    exact = tiny_calf().eval()(look_back).values
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.eval()(look_back).values
    assert 0 < (rounded - exact).abs().max() < 0.1


def test_dropout_is_silent_in_evaluation_unless_the_published_behaviour_is_asked_for(look_back):
    corrected, published = tiny_calf().eval(), tiny_calf(compat_official=True).eval()
    assert torch.equal(corrected(look_back).values, corrected(look_back).values)
    assert not torch.equal(published(look_back).values, published(look_back).values)
    assert published(look_back).auxiliary_losses == {}


def test_more_channels_than_positions_are_refused():
    shape = ForecastSpec(SEQ_LEN, PRED_LEN, 9)
    with pytest.raises(ValueError, match="has 8 positions, but --data has 9 channels: choose fewer with --columns"):
        CALF(CALFConfig(), shape, backbone=tiny_llm(), words=torch.randn(5, 16))


def test_a_target_with_another_number_of_channels_is_forecast():
    assert tiny_calf().eval()(torch.randn(2, SEQ_LEN, 7)).values.shape == (2, PRED_LEN, 7)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"lora_rank": 0}, "--lora_rank must be at least 1, got 0"),
        ({"num_components": 0}, "--num_components must be at least 1, got 0"),
        ({"lora_dropout": 1.0}, "--lora_dropout must be at least 0 and below 1, got 1.0"),
        ({"feature_weight": -1.0}, "--feature_weight must not be negative, got -1.0"),
        ({"projection_learning_rate": 0.0}, "--projection_learning_rate must be above 0, got 0.0"),
        ({"llm_layers": 0}, "--llm_layers must be at least 1, got 0"),
    ],
    ids=str,
)
def test_a_setting_outside_its_range_is_named(flags, message):
    with pytest.raises(ValueError, match=message):
        CALFConfig(**flags)


def test_a_season_as_long_as_the_look_back_has_no_scaled_error():
    with pytest.raises(ValueError, match="--output_loss mase needs a --seq_len above one season of 12 steps, got 12"):
        tiny_calf(output_loss="mase", season_length=12)


def test_a_model_is_built_from_flags_alone_and_computes_its_words_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = CALFConfig(llm_model="random", llm_layers=1, llm_width=16, llm_heads=2, num_components=5)
    spec = ForecastSpec(SEQ_LEN, PRED_LEN, NUM_CHANNELS)
    first, second = CALF.build(config, spec), CALF.build(config, spec)
    assert torch.equal(first.words, second.words)
    assert first.words.shape == (5, 16)
    assert len(list((tmp_path / "balm-forecasting").iterdir())) == 1
    assert first.fingerprint()["name"] == "random"
    with pytest.raises(ValueError, match="--num_components must be at most 16"):
        CALF.build(CALFConfig(llm_model="random", llm_layers=1, llm_width=16, llm_heads=2), spec)
