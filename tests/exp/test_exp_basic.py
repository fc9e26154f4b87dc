"""The name of a run: readable, safe as a folder name, and different for everything that determines the result."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from exp.command_line import parse_command
from exp.config import TrainConfig
from exp.exp_basic import Settings, run_id
from tests.exp.runs import flags, run_folder, run_here
from utils.flags.parsing import flag_roles

SETTINGS = parse_command(["--model", "DLinear", "--data", "ETTh1"])


def name_of(train: TrainConfig, settings: Settings = SETTINGS, **determinants: Any) -> str:
    settings = dataclasses.replace(settings, train=train)
    return run_id(settings, data="ETTh1", fingerprint="", determinants=determinants)


@pytest.mark.parametrize("label", ["../../etc", "/root", "a/b", "..", ".hidden", "a\0b", "C:\\x", "~"])
def test_a_run_id_stays_a_visible_name_in_its_folder(tmp_path, label):
    name = name_of(TrainConfig(model_id=label, des=label))
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert not name.startswith(".")
    assert "\0" not in name


def test_a_run_id_that_no_folder_can_have_is_refused():
    with pytest.raises(ValueError, match="shorten --model_id or --des"):
        name_of(TrainConfig(des="x" * 300))


def test_a_long_name_of_the_data_is_shortened_and_no_flag_is_blamed():
    names = {
        run_id(SETTINGS, data=f"{'long' * 60}{number}", fingerprint=str(number), determinants={}) for number in (1, 2)
    }
    assert len(names) == 2
    assert all(len(name) < 100 and name.startswith("DLinear_longlong") for name in names)


def test_the_run_id_changes_with_everything_that_determines_the_result_and_nothing_else():
    changes = {
        "batch_size": 7, "learning_rate": 0.5, "lradj": "cosine", "cosine_epochs": 3, "adam_beta1": 0.5,
        "train_epochs": 3, "patience": 3, "loss": "l1", "seed": 3, "precision": "bf16", "deterministic": True,
        "compile": True, "cuda_graph": True, "fast_dev_run": True, "model_id": "x", "des": "x",
        "is_training": 0, "seeds": [1], "itr": 2, "device": "cpu", "output_dir": "x", "overwrite": True,
        "checkpoint_steps": 3, "row_memory_mb": 3, "eval_batch_size": 3, "text_store": "x", "text_store_gb": 3.0,
        "recipe": "x", "allow_other_code": True, "optimizer": "adamw", "weight_decay": 0.1, "clip_grad_norm": 1.0,
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(TrainConfig)}
    for name, value in changes.items():
        same = name_of(TrainConfig(**{name: value})) == name_of(TrainConfig())
        assert same == (flag_roles([TrainConfig]).get(name) in ("place", "note")), name
    assert name_of(TrainConfig(), num_processes=1) != name_of(TrainConfig(), num_processes=2)


def test_the_run_id_is_the_one_of_earlier_versions():
    """Else a run that was interrupted could not be resumed after an update."""
    assert name_of(TrainConfig(), num_processes=1) == "DLinear_ETTh1_512_96_seed2021_3e17c67b"


def test_moved_data_are_the_same_run_and_changed_data_are_another():
    def name(path: str, fingerprint: str) -> str:
        data = dataclasses.replace(SETTINGS.data, root_path=path, data_path=path)
        settings = dataclasses.replace(SETTINGS, data=data)
        return run_id(settings, data="ETTh1", fingerprint=fingerprint, determinants={})

    assert name("here", "a") == name("there", "a") != name("here", "b")


def test_config_json_says_the_role_of_each_flag_that_has_one(tmp_path):
    assert run_here(flags(tmp_path, "--train_epochs", "1")) == 0
    roles = json.loads((run_folder(tmp_path) / "config.json").read_text())["flag_roles"]
    names = {role: {flag for flag in roles if roles[flag] == role} for role in roles.values()}
    assert names == {
        "place": {
            "is_training", "seeds", "itr", "device", "output_dir", "overwrite", "checkpoint_steps", "row_memory_mb",
            "eval_batch_size", "root_path", "track", "track_project", "text_store", "text_store_gb", "allow_other_code",
        },
        "note": {"recipe"},
        "label": {"model_id", "des", "seed", "fast_dev_run"},
        "numerics": {"deterministic", "compile", "cuda_graph"},
        "cell": {"data", "data_path", "features", "seq_len", "pred_len", "percent"},
        "reading": {"date_format", "decimal", "thousands", "encoding", "series_column", "value_column"},
    }  # fmt: skip
