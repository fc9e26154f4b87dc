"""Controls of CALF and GPT4TS: what each leaves out, and that the models are as before without them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from data_provider.config import DataConfig
from exp.config import TrackConfig, TrainConfig
from exp.exp_basic import Settings, run_id
from layers.instance_norm import InstanceStatistics
from layers.patching import cut_patches
from models.base import ForecastSpec
from models.calf import CALF, CALFConfig
from models.gpt4ts import GPT4TS, GPT4TSConfig
from tests.layers.llm.small_models import save_model
from tests.models.test_calf import tiny_calf, without_dropout

SPEC = ForecastSpec(seq_len=12, pred_len=4, num_channels=3)
LLM: dict[str, Any] = {"llm_model": "random", "llm_layers": 1, "llm_width": 8, "llm_heads": 2}


def look_back() -> torch.Tensor:
    return torch.randn(5, 12, 3, generator=torch.Generator().manual_seed(1))


def gpt4ts(**flags: Any) -> GPT4TS:
    torch.manual_seed(0)
    return GPT4TS.build(GPT4TSConfig(patch_len=4, stride=2, **{**LLM, **flags}), SPEC)


@pytest.mark.parametrize("model", [CALF, GPT4TS])
def test_a_random_llm_has_the_named_architecture_and_weights_drawn_by_its_seed(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "llm").mkdir()
    directory = save_model("llama", tmp_path / "llm")
    kind = {CALF: CALFConfig, GPT4TS: GPT4TSConfig}[model]
    sizes = {"num_components": 5} if model is CALF else {"patch_len": 4, "stride": 2}

    def fingerprint(**flags: Any) -> dict[str, Any]:
        config = kind(llm_model=str(directory), llm_layers=1, **sizes, **flags)
        return model.build(config, SPEC).fingerprint()

    pretrained, drawn = fingerprint(), fingerprint(backbone="random_llm")
    assert (pretrained["random"], drawn["random"]) == (False, True)
    assert drawn["name"] == pretrained["name"]
    hashes = {found["sha256"] for found in (pretrained, drawn, fingerprint(backbone="random_llm", llm_seed=1))}
    assert len(hashes) == 3
    assert fingerprint(backbone="random_llm") == drawn


def test_gpt4ts_without_a_transformer_is_the_head_on_the_embedded_patches_as_wide_as_the_llm():
    model = gpt4ts(backbone="none").eval()
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"embedding", "head"}
    assert model.embedding.out_features == 8
    assert model.fingerprint() == {}
    rows = look_back()
    statistics = InstanceStatistics.of(rows)
    patches = cut_patches(statistics.normalise(rows).transpose(1, 2).flatten(0, 1), patch_len=4, stride=2)
    values = model.head(model.embedding(patches)).unflatten(0, (5, 3)).transpose(1, 2)
    torch.testing.assert_close(model(rows).values, statistics.denormalise(values))


def test_full_fine_tuning_trains_the_temporal_branch_alone():
    model = tiny_calf(full_fine_tuning=True)
    assert all(parameter.requires_grad for parameter in model.temporal.parameters())
    assert model.textual is not None
    frozen = {name for name, p in model.textual.named_parameters() if not p.requires_grad}
    assert "h.0.mlp.c_fc.weight" in frozen
    shared = {id(p) for p in model.temporal.parameters()} & {id(p) for p in model.textual.parameters()}
    assert not shared
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    before = model.textual.get_parameter("h.0.mlp.c_fc.weight").clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    forecast = model.train()(look_back())
    torch.stack([forecast.values.square().mean(), *forecast.auxiliary_losses.values()]).sum().backward()
    optimizer.step()
    assert torch.equal(model.textual.get_parameter("h.0.mlp.c_fc.weight"), before)


def test_a_fully_tuned_checkpoint_restores_the_forecast():
    trained, fresh = tiny_calf(full_fine_tuning=True), tiny_calf(full_fine_tuning=True)
    for parameter in trained.temporal.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    fresh.load_saved_state(trained.saved_state())
    torch.testing.assert_close(fresh.eval()(look_back()).values, trained.eval()(look_back()).values)


def test_without_the_match_module_channels_do_not_mix_before_the_llm_and_no_words_are_read():
    model = without_dropout(tiny_calf(match_module=False))
    assert not [name for name, _ in model.named_parameters() if "encoder" in name or "attention" in name]
    assert not hasattr(model, "words")
    assert set(model.train()(look_back()).auxiliary_losses) == {"output", "feature"}
    channels = look_back().transpose(1, 2)
    alone = model.match.time_tokens(channels[:, :1])
    torch.testing.assert_close(model.match.time_tokens(channels)[:, :1], alone)


def test_full_fine_tuning_without_lora_is_refused():
    with pytest.raises(ValueError, match="--full_fine_tuning trains what --no_lora keeps frozen"):
        CALFConfig(full_fine_tuning=True, lora=False)


def name_of(config: Any) -> str:
    model = {CALFConfig: CALF, GPT4TSConfig: GPT4TS}[type(config)]
    settings = Settings(
        "long_term_forecast", model.__name__, model, DataConfig(data="ETTh1"), config, TrainConfig(), TrackConfig()
    )
    return run_id(settings, data="ETTh1", fingerprint="", determinants={}).rpartition("_")[2]


@pytest.mark.parametrize(
    ("kind", "name", "changed"),
    [(CALFConfig, "8ae644d2", {"match_module": False}), (GPT4TSConfig, "3c206b55", {"backbone": "none"})],
)
def test_a_control_has_a_run_id_of_its_own_and_other_runs_keep_theirs(kind, name, changed):
    """Else a run that was interrupted could not be resumed after an update."""
    config = kind()
    assert name_of(config) == name
    assert name_of(dataclasses.replace(config, **changed)) != name
