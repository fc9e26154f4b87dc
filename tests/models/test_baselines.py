"""What holds for every trained baseline: parameters by hand formula, rows apart, channels apart, state and learning."""

from __future__ import annotations

import pytest
import torch

from layers.llm.loading import LLMConfig
from models import model_class
from models.base import Forecaster, ForecastSpec
from models.gpt4ts import GPT4TSConfig
from models.itransformer import ITransformerConfig
from models.patchtst import PatchTSTConfig
from models.pattn import PAttnConfig

SEQ_LEN, PRED_LEN, CHANNELS = 16, 5, 3
SHAPE = ForecastSpec(seq_len=SEQ_LEN, pred_len=PRED_LEN, num_channels=CHANNELS)
PATCH_LEN, STRIDE = 4, 2
PATCHES = (SEQ_LEN - PATCH_LEN) // STRIDE + 2
TINY = {
    "DLinear": model_class("DLinear").Config(moving_avg=5),
    "NLinear": model_class("NLinear").Config(),
    "PatchTST": PatchTSTConfig(patch_len=4, stride=2, d_model=8, n_heads=2, e_layers=2, d_ff=12, dropout=0.1),
    "iTransformer": ITransformerConfig(d_model=8, n_heads=2, e_layers=2, d_ff=12, dropout=0.1),
    "PAttn": PAttnConfig(patch_len=4, stride=2, d_model=8, n_heads=2, dropout=0.1),
    "GPT4TS": GPT4TSConfig(patch_len=4, stride=2, llm_model="random", llm_layers=2, llm_width=8, llm_heads=2),
}
INSTANCE_NORMED = ("PatchTST", "iTransformer", "PAttn", "GPT4TS")


def build(name: str, spec: ForecastSpec = SHAPE) -> Forecaster:
    torch.manual_seed(0)
    return model_class(name).build(TINY[name], spec)


def windows(num_rows: int = 4, channels: int = CHANNELS) -> torch.Tensor:
    return torch.randn(num_rows, SEQ_LEN, channels, generator=torch.Generator().manual_seed(1)).cumsum(dim=1)


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def attention(d: int) -> int:
    """Queries, keys, values and the output map."""
    return 4 * linear(d, d)


def trainable(model: Forecaster) -> dict[str, int]:
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", TINY)
def test_every_channel_and_step_gets_a_float32_forecast(name):
    forecast = build(name).eval()(windows())
    assert forecast.values.shape == (4, PRED_LEN, CHANNELS)
    assert forecast.values.dtype == torch.float32
    assert forecast.auxiliary_losses == {}


@pytest.mark.parametrize("name", TINY)
def test_a_row_is_forecast_the_same_alone_and_in_a_batch(name):
    model = build(name).eval()
    torch.testing.assert_close(model(windows()[:1]).values, model(windows()).values[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_the_forecast_without_a_graph_is_the_one_with_a_graph(name):
    """Torch takes another path through its encoder layers without a graph; it must not change the result."""
    model = build(name).eval()
    with_graph = model(windows()).values.detach()
    with torch.no_grad():
        torch.testing.assert_close(model(windows()).values, with_graph, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_only_itransformer_lets_a_channel_see_the_others(name):
    model = build(name).eval()
    changed = windows()
    changed[:, :, 1] = changed[:, :, 1].flip(1)
    difference = (model(changed).values - model(windows()).values).abs().amax(dim=(0, 1))
    assert difference[1] > 1e-3
    assert (bool(difference[0] > 1e-5) or bool(difference[2] > 1e-5)) == (name == "iTransformer")


@pytest.mark.parametrize("name", INSTANCE_NORMED)
def test_an_instance_normed_model_moves_with_level_and_scale(name):
    model = build(name).eval()
    rows = windows() * 10
    torch.testing.assert_close(model(rows * 3 + 7).values, model(rows).values * 3 + 7, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_every_trainable_parameter_that_a_forecast_reads_learns(name):
    model = build(name).train()
    optimiser = torch.optim.Adam(model.parameter_groups(1e-2))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    look_back, target = windows(8), torch.randn(8, PRED_LEN, CHANNELS, generator=torch.Generator().manual_seed(2))
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.mse_loss(model(look_back).values, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for parameter_name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[parameter_name]) != parameter.requires_grad, parameter_name


@pytest.mark.parametrize("name", TINY)
def test_what_is_saved_restores_the_forecast(name):
    model, other = build(name), build(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    model.train()(windows())  # moves PatchTST's running statistics, which are state too
    other.load_saved_state(model.saved_state())
    assert torch.equal(model.eval()(windows()).values, other.eval()(windows()).values)


def test_patchtst_trains_exactly_the_parameters_of_its_equations():
    counts = trainable(build("PatchTST"))
    layer = attention(8) + linear(8, 12) + linear(12, 8) + 2 * (2 * 8)
    assert sum(counts.values()) == linear(4, 8) + PATCHES * 8 + 2 * layer + linear(8 * PATCHES, PRED_LEN)
    per_layer = {
        f"encoder.{i}.{part}"
        for i in range(2)
        for part in (
            "attention.in_proj_weight",
            "attention.in_proj_bias",
            "attention.out_proj.weight",
            "attention.out_proj.bias",
            "feed_forward.0.weight",
            "feed_forward.0.bias",
            "feed_forward.3.weight",
            "feed_forward.3.bias",
            "attention_norm.weight",
            "attention_norm.bias",
            "feed_forward_norm.weight",
            "feed_forward_norm.bias",
        )
    }
    outside = {"embedding.weight", "embedding.bias", "positions", "head.linear.weight", "head.linear.bias"}
    assert set(counts) == per_layer | outside


def test_itransformer_trains_exactly_the_parameters_of_its_equations():
    model = build("iTransformer")
    counts = trainable(model)
    layer = attention(8) + linear(8, 12) + linear(12, 8) + 2 * (2 * 8)
    assert sum(counts.values()) == linear(SEQ_LEN, 8) + 2 * layer + 2 * 8 + linear(8, PRED_LEN)
    assert {name.split(".")[0] for name in counts} == {"embedding", "encoder", "head"}
    assert len(counts) == len(list(model.parameters())) == 2 + 2 * 12 + 2 + 2


def test_pattn_trains_exactly_the_parameters_of_its_equations():
    counts = trainable(build("PAttn"))
    assert sum(counts.values()) == linear(4, 8) + attention(8) + 2 * 8 + linear(8 * PATCHES, PRED_LEN)
    assert set(counts) == {
        "embedding.weight",
        "embedding.bias",
        "attention.in_proj_weight",
        "attention.in_proj_bias",
        "attention.out_proj.weight",
        "attention.out_proj.bias",
        "norm.weight",
        "norm.bias",
        "head.linear.weight",
        "head.linear.bias",
    }


def test_gpt4ts_trains_positions_norms_embedding_and_head_only():
    model = build("GPT4TS")
    counts = trainable(model)
    norms = {f"llm.h.{i}.ln_{j}.{kind}" for i in range(2) for j in (1, 2) for kind in ("weight", "bias")}
    norms |= {"llm.ln_f.weight", "llm.ln_f.bias"}
    maps = {"embedding.weight", "embedding.bias", "head.linear.weight", "head.linear.bias"}
    assert set(counts) == norms | maps | {"llm.wpe.weight"}
    assert sum(counts.values()) == 1024 * 8 + 5 * 2 * 8 + linear(4, 8) + linear(8 * PATCHES, PRED_LEN)
    frozen = sum(p.numel() for p in model.parameters()) - sum(counts.values())
    assert frozen == 2 * (attention(8) + linear(8, 32) + linear(32, 8))


def test_gpt4ts_at_its_published_size_has_the_published_parts():
    config = GPT4TSConfig(llm_model="random")
    spec = ForecastSpec(seq_len=512, pred_len=96, num_channels=7)
    model = model_class("GPT4TS").build(config, spec)
    norms, positions, patches = (6 * 2 + 1) * 2 * 768, 1024 * 768, 64
    assert sum(trainable(model).values()) == norms + positions + linear(16, 768) + linear(768 * patches, 96)
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 6 * (
        attention(768) + linear(768, 4 * 768) + linear(4 * 768, 768)
    )


def test_patchtst_at_its_published_etth_size_has_the_parameters_of_the_paper():
    config = PatchTSTConfig(d_model=16, n_heads=4, d_ff=128, dropout=0.3)
    model = model_class("PatchTST").build(config, ForecastSpec(seq_len=512, pred_len=96, num_channels=7))
    layer = attention(16) + linear(16, 128) + linear(128, 16) + 2 * 2 * 16
    assert linear(16, 16) + 64 * 16 + 3 * layer + linear(16 * 64, 96) == 115_872
    assert sum(trainable(model).values()) == 115_872


def test_gpt4ts_in_bfloat16_keeps_what_it_trains_in_float32():
    model = build("GPT4TS", ForecastSpec(SEQ_LEN, PRED_LEN, CHANNELS, dtype=torch.bfloat16)).eval()
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    exact = build("GPT4TS").eval()(windows()).values
    torch.testing.assert_close(model(windows()).values, exact, atol=0.1, rtol=0.05)
    assert model(windows()).values.dtype == torch.float32


def test_gpt4ts_remembers_which_llm_its_frozen_part_is():
    fingerprint = build("GPT4TS").fingerprint()
    assert fingerprint["name"] == "random"
    assert fingerprint["random"] is True
    assert len(fingerprint["sha256"]) == 64


@pytest.mark.parametrize("name", ["PatchTST", "PAttn", "GPT4TS"])
def test_a_look_back_shorter_than_a_patch_is_refused_by_its_flag(name):
    with pytest.raises(ValueError, match="--patch_len must be at most --seq_len, got 4 > 3"):
        build(name, ForecastSpec(seq_len=3, pred_len=2, num_channels=1))


def test_more_patches_than_the_llm_has_positions_are_refused():
    config = GPT4TSConfig(patch_len=1, stride=1, llm_model="random", llm_layers=1, llm_width=8, llm_heads=2)
    with pytest.raises(ValueError, match="--seq_len 1200 gives 1201 patches but the LLM has 1024 positions"):
        model_class("GPT4TS").build(config, ForecastSpec(seq_len=1200, pred_len=2, num_channels=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 10, "n_heads": 4}, "--d_model must be a positive multiple of --n_heads, got 10 and 4"),
        ({"dropout": 1.0}, "--dropout must be in 0..1"),
        ({"e_layers": 0}, "--e_layers must be at least 1, got 0"),
        ({"stride": 0}, "--stride must be at least 1 time step, got 0"),
    ],
)
def test_impossible_sizes_are_refused_by_their_flag(settings, message):
    with pytest.raises(ValueError, match=message):
        PatchTSTConfig(**settings)


def test_a_gpt4ts_config_is_an_llm_config():
    assert issubclass(GPT4TSConfig, LLMConfig)
    with pytest.raises(ValueError, match="--llm_layers must be at least 1"):
        GPT4TSConfig(llm_layers=0)
