"""One model for several data sets: what it is trained and tested on, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data_provider.config import DataConfig
from data_provider.demo import DEMO_PATH
from exp.command_line import WrongInput, parse_command, run_command
from exp.config import TrainConfig
from exp.joint_config import JointConfig, parts_of
from exp.predict.restored_model import restore_model
from tests.exp.runs import TINY_LLM, run_folder
from utils.results import collect

FLAGS = [
    "--model",
    "UniTime",
    "--data",
    "demo,ILI",
    "--seq_len",
    "96",
    "--pred_len",
    "24",
    "--device",
    "cpu",
    *TINY_LLM,
]


@pytest.fixture(scope="module")
def finished(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the demo set and the real ILI, two steps of each split."""
    folder = tmp_path_factory.mktemp("joint")
    root = folder / "data"
    root.mkdir()
    (root / "demo").symlink_to(DEMO_PATH.resolve().parent)
    (root / "illness").symlink_to(shared / "dataset" / "illness")
    each = ["--seq_lens", "96", "36", "--strides", "16", "4", "--test_pred_lens", "12/24", "24", "--repeats", "1", "2"]
    words = [*FLAGS, *each, "--root_path", str(root), "--output_dir", str(folder / "results"), "--fast_dev_run"]
    (text,) = run_command(words)
    assert "demo 12" in text and "\nILI\n" in text
    return run_folder(folder)


@pytest.mark.shared
def test_every_data_set_is_tested_at_each_of_its_horizons(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert {name: test["cell"] for name, test in metrics["tests"].items()} == {
        "demo 12": {"data": "demo", "seq_len": 96, "pred_len": 12},
        "demo 24": {"data": "demo", "seq_len": 96, "pred_len": 24},
        "ILI": {"data": "ILI", "seq_len": 36, "pred_len": 24},
    }
    assert metrics["steps"] == 2 + 2 * 2
    assert metrics["labels"] == ["demo data", "random LLM", "fast_dev_run"]


@pytest.mark.shared
def test_the_tables_of_results_show_each_test_in_its_own_cell(finished):
    rows = collect(finished.parent).rows
    found = {(row["data"], row["seq_len"], row["pred_len"]) for row in rows.to_dict("records")}
    assert found == {("demo", 96, 12), ("demo", 96, 24), ("ILI", 36, 24)}


@pytest.mark.shared
def test_there_is_no_prediction_from_it_and_one_line_says_so(finished):
    with pytest.raises(ValueError, match=r"was trained on several data sets \(demo,ILI\)"):
        restore_model(finished / "checkpoint" / "best.safetensors", device=torch.device("cpu"), elsewhere={})


def test_several_data_sets_choose_the_joint_task_and_its_flags():
    settings = parse_command([*FLAGS, "--repeats", "1", "13"])
    assert settings.task_name == "joint_forecast"
    with pytest.raises(ValueError, match="--repeats belongs to --task_name joint_forecast"):
        parse_command(["--model", "UniTime", "--data", "demo", "--repeats", "2"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--data", "demo,demo"], "--data demo,demo names a data set twice"),
        (["--data", "demo,custom"], "custom"),
        (["--repeats", "1", "2", "3"], "--repeats needs one value, or one for each of the 2 data sets, got 3"),
        (["--test_pred_lens", "12/48"], "--test_pred_lens must be horizons of at most the one of training"),
        (["--batch_sizes", "0"], "--batch_sizes must be at least 1"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_written(changed, message, tmp_path):
    with pytest.raises(WrongInput, match=message):
        list(run_command([*FLAGS, "--output_dir", str(tmp_path / "none"), *changed]))
    assert not (tmp_path / "none").exists()


def test_a_model_for_one_data_set_is_refused(tmp_path):
    words = ["--model", "DLinear", "--data", "demo,ETTh1", "--output_dir", str(tmp_path / "none")]
    with pytest.raises(WrongInput, match="--model DLinear is trained on one data set: name one with --data"):
        list(run_command(words))


def test_one_value_is_for_all_and_the_common_flags_are_the_default():
    data, train = DataConfig(data="demo,ILI", seq_len=48, pred_len=24), TrainConfig(batch_size=16)
    first, second = parts_of(data, train, JointConfig(strides=[4], seq_lens=[48, 36], test_pred_lens=["12/24"]))
    assert (first.data.data, first.data.seq_len, second.data.data, second.data.seq_len) == ("demo", 48, "ILI", 36)
    assert (first.stride, second.stride, second.train.batch_size, second.repeats) == (4, 4, 16, 1)
    assert first.test_pred_lens == second.test_pred_lens == [12, 24]
