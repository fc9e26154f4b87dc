"""Columns whose future is known: read by the models that can, needed by their forecasts, refused by all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import run
from data_provider import check
from exp.predict.forecaster import load_forecaster
from exp.python_call import train as train_in_python
from models import MODELS, model_class
from tests.exp.small_runs import PRED_LEN, SEQ_LEN, TINY_LLM, predict, train
from utils.flags.parsing import flag_names

NUM_ROWS, SIZE = 500, 10.0


def frame(*, with_future: bool = True) -> Any:
    """A wave and a flat channel; both follow random events, which only a column tells, also of the next horizon."""
    generator = np.random.default_rng(0)
    time = np.arange(NUM_ROWS + PRED_LEN)
    event = (generator.random(len(time)) < 0.3).astype(float)
    event[NUM_ROWS:] = [0, 1, 0, 0, 1, 1]
    found: Any = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=len(time), freq="h"), "event": event})
    found["wave"] = np.sin(time / 24 * 2 * np.pi) + SIZE * event
    found["flat"] = 5 - 2 * SIZE * event + generator.normal(0, 0.1, len(time))
    found.loc[NUM_ROWS:, ["wave", "flat"]] = np.nan
    return found if with_future else found.iloc[:NUM_ROWS]


FLAGS = ["--known_future", "event", "--train_epochs", "20", "--learning_rate", "0.01", "--patience", "20"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    frame().to_csv(tmp_path / "my.csv", index=False)
    return tmp_path / "my.csv"


@pytest.mark.parametrize("row", [10, NUM_ROWS - 10])
def test_a_known_value_that_cannot_be_scaled_is_refused_before_the_training(path, tmp_path, capsys, row):
    table = frame()
    table.loc[row, "event"] = 1e150
    table.to_csv(path, index=False)
    assert check.main([str(path)]) == 1
    command = ["--model", "DLinear", "--data", "custom", "--data_path", str(path), "--seq_len", str(SEQ_LEN)]
    more = ["--pred_len", str(PRED_LEN), *FLAGS, "--output_dir", str(tmp_path / "results")]
    assert run.main([*command, *more]) == run.WRONG_INPUT
    assert f"in column event at {table['date'][row]}" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("model", ["DLinear", "NLinear"])
def test_the_known_future_is_in_the_forecast_by_command_and_from_python(path, tmp_path, model):
    fit = train(path, tmp_path / "results", *FLAGS, "--lradj", "constant", model=model)
    forecaster = load_forecaster(fit)
    assert forecaster.columns == ["wave", "flat"] and forecaster.metrics["tests"]["my"]["mse"] < 0.2
    assert predict(fit, path, tmp_path / "forecast.csv", "--interval", "0.8") == 0
    written: Any = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["date"])
    assert written["date"].tolist() == frame()["date"].tolist()[NUM_ROWS:]
    for name, size in (("wave", SIZE), ("flat", -2 * SIZE)):
        jumps = written[name][[1, 4, 5]].mean() - written[name][[0, 2, 3]].mean()
        assert jumps == pytest.approx(size, rel=0.3)
    pd.testing.assert_frame_equal(written, forecaster.predict(frame(), interval=0.8), check_dtype=False, rtol=1e-6)
    rolled: Any = forecaster.predict(frame(), rolling=True)
    last = rolled[rolled["made_at"] == rolled["made_at"].max()].drop(columns="made_at").reset_index(drop=True)
    pd.testing.assert_frame_equal(last, written[["date", "wave", "flat"]], check_dtype=False, rtol=1e-4)


def test_a_forecast_without_the_future_rows_is_refused_and_says_which(path, tmp_path, capsys):
    fit = train(path, tmp_path / "results", "--known_future", "event")
    frame(with_future=False).to_csv(tmp_path / "past.csv", index=False)
    assert predict(fit, tmp_path / "past.csv", tmp_path / "forecast.csv") == run.WRONG_INPUT
    assert "reads event of the future (--known_future): add the 6 rows 2024-01-21 20:00:00" in capsys.readouterr().err
    assert not (tmp_path / "forecast.csv").exists()


def test_training_is_the_same_with_and_without_the_future_rows(tmp_path):
    sizes = {"seq_len": SEQ_LEN, "pred_len": PRED_LEN, "train_epochs": 1, "device": "cpu", "known_future": "event"}
    found = [
        train_in_python(data, model="NLinear", output_dir=str(tmp_path / name), **sizes).metrics["tests"]["table"][
            "mse"
        ]
        for name, data in (("with", frame()), ("without", frame(with_future=False)))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("model", ["PatchTST", "BALM", "LastValue"])
def test_other_models_refuse_it_by_name(path, capsys, model):
    command = ["--model", model, "--data", "custom", "--data_path", str(path), "--known_future", "event"]
    assert run.main(command + (TINY_LLM if model == "BALM" else [])) == run.WRONG_INPUT
    assert "--known_future belongs to --model DLinear or NLinear" in capsys.readouterr().err


def test_a_model_declares_that_it_reads_known_columns_where_it_has_the_flag():
    for name in MODELS:
        kind = model_class(name)
        assert kind.reads_known_future == ("known_future" in flag_names([kind.Config])), name


def test_wrong_columns_and_data_sets_are_refused(path, tmp_path, capsys):
    sizes = ["--seq_len", "24", "--pred_len", "6", "--output_dir", str(tmp_path / "results")]
    own = ["--model", "DLinear", "--data", "custom", "--data_path", str(path), *sizes]
    assert run.main([*own, "--known_future", "price"]) == run.WRONG_INPUT
    assert "--known_future price is no column of" in capsys.readouterr().err
    assert run.main(["--model", "DLinear", "--data", "demo", *sizes, "--known_future", "0"]) == run.WRONG_INPUT
    assert "only has a meaning with --data custom" in capsys.readouterr().err
