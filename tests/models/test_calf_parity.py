"""CALF beside the numbers of the published code."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.calf import build, our_name


@pytest.fixture(scope="module")
def golden(shared):
    return read_golden(shared / "golden" / "calf_small_a.npz")


@pytest.fixture(scope="module")
def results(golden):
    return comparisons("calf", golden)


def test_every_published_quantity_is_met(results):
    assert [str(result) for result in results if not result.holds] == []


def test_everything_in_the_file_is_compared(results, golden):
    compared = {result.name for result in results}
    expected = {name for name in golden if name.startswith(("mid/", "out/", "grad/", "after3"))}
    assert compared == expected | {"model_optim_names", "loss_optim_names"}


@pytest.mark.parametrize(
    ("parameter", "first_wrong"),
    [
        ("in_layer.linear.bias", "mid/in_time"),
        ("in_layer.cross_attention.in_proj_weight", "mid/in_text"),
        ("gpt2.base_model.model.h.1.attn.c_attn.lora_B.default.weight", "mid/raw_feat_time_2"),
        ("gpt2_text.wpe.weight", "mid/raw_feat_text_0"),
        ("text_proj.1.weight", "mid/proj_feat_text_1"),
        ("out_layer.bias", "out/outputs_time"),
    ],
)
def test_a_changed_parameter_is_noticed_where_it_is_read(golden, parameter, first_wrong):
    changed = dict(golden)
    changed[f"param/{parameter}"] = golden[f"param/{parameter}"] * np.float32(1.01) + np.float32(1e-3)
    exceeded = {result.name for result in comparisons("calf", changed) if not result.holds}
    assert first_wrong in exceeded
    assert "mid/x_norm" not in exceeded


def test_a_wrong_rate_is_noticed(golden):
    changed = {**golden, "cfg/lr_loss_optim": np.float32(2e-4)}
    exceeded = {result.name for result in comparisons("calf", changed) if not result.holds}
    assert "after3/time_proj.0.weight" in exceeded
    assert "out/loss" not in exceeded


def test_a_file_of_other_sizes_and_losses_is_built_and_run(golden):
    changed = {name: value for name, value in golden.items() if not name.startswith(("cfg/N", "in/"))}
    generator = np.random.default_rng(0)
    changed |= {f"in/x{i}": generator.normal(size=(2, 96, 5)).astype(np.float32) for i in range(3)}
    changed |= {f"in/y{i}": generator.normal(size=(2, 24, 5)).astype(np.float32) for i in range(3)}
    changed |= {"cfg/N": np.int64(5), "cfg/B": np.int64(2), "cfg/loss": np.str_("smooth_l1")}
    exceeded = [result for result in comparisons("calf", changed) if not result.holds]
    assert {"mid/in_time", "out/loss"} <= {result.name for result in exceeded}
    assert {result.measure for result in exceeded if result.name == "mid/in_time"} == {"shape [2, 5, 32]"}


def test_the_official_flag_and_the_file_decide_the_model(golden):
    model = build(golden)
    assert model.config.compat_official
    assert (model.config.lora_rank, model.config.lora_alpha) == (4, 8)
    name = our_name("gpt2_text.h.1.attn.c_proj.weight")
    assert torch.equal(model.state_dict()[name], torch.from_numpy(golden["param/gpt2_text.h.1.attn.c_proj.weight"]))


def test_the_command_prints_every_difference_and_says_when_one_exceeds(shared, capsys, tmp_path, golden):
    assert main(["calf", str(shared / "golden" / "calf_small_a.npz")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"mid/proj_feat_text_2 +relative +\d\.\d\de-\d\d", printed)
    changed = {**golden, "param/out_layer.weight": golden["param/out_layer.weight"] * np.float32(1.001)}
    np.savez(tmp_path / "changed.npz", **changed)
    assert main(["calf", str(tmp_path / "changed.npz")]) == 1
    assert "EXCEEDED" in capsys.readouterr().out
