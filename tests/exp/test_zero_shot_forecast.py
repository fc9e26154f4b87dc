"""Trained on one data set, tested on others: their own scaler, every window, no row of theirs in the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_provider.demo import DEMO_PATH
from exp.command_line import WrongInput, run_command
from exp.exp_long_term_forecast import LongTermForecast
from exp.exp_zero_shot_forecast import ZeroShotForecast
from models.nlinear import NLinear
from tests.exp.runs import flags, run_folder
from tests.exp.small_runs import table
from utils.checkpoint import load_checkpoint

DEMO = ["--root_path", str(DEMO_PATH.resolve().parents[1])]
ON_DEMO = [*DEMO, "--task_name", "zero_shot_forecast", "--target_data", "demo"]
SHORT = ["--train_epochs", "1", "--percent", "20"]


def metrics(folder: Path, output: str = "results") -> dict:
    return json.loads((run_folder(folder, output) / "metrics.json").read_text())


def test_a_target_is_measured_as_in_a_run_of_its_own(tmp_path):
    """Last value needs no training: from any source its errors on the target are those of a run on the target."""
    run_on_demo = ["--data", "demo", *DEMO, "--seq_len", "96", "--pred_len", "24", "--device", "cpu"]
    list(run_command(["--model", "LastValue", *run_on_demo, "--output_dir", str(tmp_path / "own")]))
    list(run_command(flags(tmp_path, *ON_DEMO, model="DLinear", output="other")))
    own, zero_shot = (metrics(tmp_path, name)["tests"]["demo"] for name in ("own", "other"))
    assert zero_shot["num_rows"] == own["num_rows"]
    assert zero_shot["naive"]["LastValue"]["mse"] == pytest.approx(own["mse"], rel=1e-6)


@pytest.mark.parametrize("model", ["BALM", "DLinear"])
def test_the_weights_are_those_of_training_on_the_source_alone(tmp_path, model):
    list(run_command(flags(tmp_path, *SHORT, model=model, output="alone")))
    (text,) = run_command(flags(tmp_path, *SHORT, *ON_DEMO, model=model, output="zero_shot"))
    assert "custom -> demo" in text or "table -> demo" in text
    alone, zero_shot = (
        load_checkpoint(run_folder(tmp_path, name) / "checkpoint" / "best.safetensors")[0]
        for name in ("alone", "zero_shot")
    )
    assert all(bool((alone[name] == zero_shot[name]).all()) for name in alone)
    assert metrics(tmp_path, "alone")["validation"] == metrics(tmp_path, "zero_shot")["validation"]


def test_a_finished_run_is_tested_without_training(tmp_path):
    list(run_command(flags(tmp_path, *SHORT, *ON_DEMO, output="trained")))
    list(run_command(flags(tmp_path, *SHORT, output="source")))
    source = ["--source_run", str(run_folder(tmp_path, "source"))]
    list(run_command(flags(tmp_path, *SHORT, *ON_DEMO, *source, output="again")))
    trained, again = metrics(tmp_path, "trained"), metrics(tmp_path, "again")
    assert again["epochs"] == 0
    assert again["tests"] == trained["tests"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--seq_len", "48"], "was trained with --seq_len 96, but these flags say 48"),
        (["--pred_len", "12"], "was trained with --pred_len 24, but these flags say 12"),
        (["--model", "NLinear"], "was trained with --model DLinear, but these flags say NLinear"),
    ],
    ids=str,
)
def test_a_source_of_other_flags_is_refused(tmp_path, changed, message):
    list(run_command(flags(tmp_path, *SHORT, output="source")))
    source = ["--source_run", str(run_folder(tmp_path, "source"))]
    with pytest.raises(WrongInput, match=message) as caught:
        list(run_command(flags(tmp_path, *SHORT, *ON_DEMO, *source, *changed, output="never")))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--task_name", "zero_shot_forecast"], "needs --target_data NAME"),
        ([*ON_DEMO[:-1], "ETTm9"], "ETTm9"),
        ([*ON_DEMO, "--source_run", "no/such/run"], "no/such/run"),
    ],
    ids=str,
)
def test_wrong_input_is_one_line(tmp_path, more, message):
    with pytest.raises(WrongInput, match=message) as caught:
        list(run_command(flags(tmp_path, *more)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_other_columns_are_refused_where_the_weights_depend_on_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(NLinear, "needs_fixed_channels", True)
    with pytest.raises(WrongInput, match=r"demo has 7 channels and --data .* 2: the weights of NLinear depend"):
        list(run_command(flags(tmp_path, *ON_DEMO, "--model", "NLinear")))


def test_calf_takes_a_target_with_other_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    llm = "--llm_model random --llm_layers 1 --llm_width 16 --llm_heads 2 --num_components 4".split()
    list(run_command(flags(tmp_path, "--model", "CALF", *llm, *SHORT, *ON_DEMO)))
    assert len(metrics(tmp_path)["tests"]["demo"]["per_channel"]["mse"]) == 7


def test_a_target_may_be_a_table_of_ones_own_with_flags_of_its_own(tmp_path):
    table(400, channels=3).rename(columns={"date": "when"}).to_csv(tmp_path / "own.csv", index=False)
    target = ["--task_name", "zero_shot_forecast", "--target_data", "custom", "--target_data_path"]
    target += [str(tmp_path / "own.csv"), "--target_columns", "a,c", "--target_date_column", "when"]
    list(run_command(flags(tmp_path, *SHORT, *target, "--target_split", "0.3,0.1,0.6")))
    found = metrics(tmp_path)["tests"]["own"]
    assert found["per_channel"]["columns"] == ["a", "c"]
    assert found["num_windows"] == 240 - 24 + 1


def test_a_target_of_ones_own_is_told_by_its_content(tmp_path):
    """The label, the test and the run id follow from the file, whatever it is called."""
    target = ["--task_name", "zero_shot_forecast", "--target_data", "custom", "--target_data_path"]
    names = []
    for number, rows in enumerate((400, 401)):
        table(rows).to_csv(tmp_path / "ETTm1.csv", index=False)
        list(run_command(flags(tmp_path, *SHORT, *target, str(tmp_path / "ETTm1.csv"))))
        names = sorted(path.name for path in (tmp_path / "results").iterdir())
        assert len(names) == number + 1
    found = [json.loads((tmp_path / "results" / name / "metrics.json").read_text()) for name in names]
    assert {len(each["tests"]["ETTm1"]["own_file"]) for each in found} == {64}
    assert len({each["tests"]["ETTm1"]["own_file"] for each in found}) == 2


def test_a_run_of_an_earlier_version_on_a_target_of_ones_own_is_found(tmp_path, monkeypatch):
    """Its run id did not depend on the content of the target."""
    table(400).to_csv(tmp_path / "own.csv", index=False)
    target = ["--task_name", "zero_shot_forecast", "--target_data", "custom", "--target_data_path"]
    command = flags(tmp_path, *SHORT, *target, str(tmp_path / "own.csv"))
    with monkeypatch.context() as earlier:
        earlier.setattr(ZeroShotForecast, "determinants", LongTermForecast.determinants)
        list(run_command(command))
    before = run_folder(tmp_path)
    with pytest.raises(WrongInput, match=f"{before} holds a finished run"):
        list(run_command(command))


def test_two_targets_of_one_name_are_refused(tmp_path):
    (tmp_path / "demo.csv").write_bytes(DEMO_PATH.read_bytes())
    target = [*ON_DEMO, "custom", "--target_data_path", str(tmp_path / "demo.csv")]
    with pytest.raises(WrongInput, match="--target_data names two data sets called demo"):
        list(run_command(flags(tmp_path, *target)))


def test_a_run_that_is_tested_on_demo_data_is_labelled(tmp_path):
    list(run_command(flags(tmp_path, *SHORT, *ON_DEMO)))
    assert metrics(tmp_path)["labels"] == ["demo data"]


def test_flags_of_a_custom_target_without_one_are_refused(tmp_path):
    with pytest.raises(WrongInput, match="--target_split only has a meaning with --target_data custom"):
        list(run_command(flags(tmp_path, *ON_DEMO, "--target_split", "0.3,0.1,0.6")))


def test_name_pictures_and_forecasts_say_the_target(tmp_path):
    list(run_command(flags(tmp_path, *SHORT, *ON_DEMO)))
    folder = run_folder(tmp_path)
    assert "_zero-shot_table-to-demo_" in folder.name
    drawn = {path.name for path in (folder / "plots").iterdir()}
    assert drawn == {"forecast_demo_best.png", "forecast_demo_median.png", "forecast_demo_worst.png", "training.png"}
    _, header = load_checkpoint(folder / "forecasts_demo.safetensors")
    assert header["columns"][-1] == "OT" and header["time_step"] == "h"
    assert sum("of 553 windows" in remark for remark in header["remarks"]) == 3
