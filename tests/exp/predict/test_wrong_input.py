"""Wrong files, frames, flags and paths: one line each, and nothing is left behind."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import run
from data_provider.scaling import Standardizer
from exp.predict.forecaster import load_forecaster
from tests.exp.small_runs import PRED_LEN, SEQ_LEN, predict, table, train
from utils.checkpoint import load_checkpoint, save_checkpoint


def wrong_files() -> dict[str, tuple[pd.DataFrame, str]]:
    """What can be wrong with a file, and a part of the line that says so."""
    frame = table()
    with_gap_cell = frame.copy()
    with_gap_cell.loc[295, "b"] = np.nan
    with_text = frame.astype({"b": object})
    with_text.loc[295, "b"] = "broken"
    repeated = pd.concat([frame, frame.iloc[[-1]]])
    return {
        "a missing column": (frame.drop(columns="b"), "has no column b: its columns are date, a, c"),
        "another step": (table(step="15min"), "has another time step than the run: h was trained on"),
        "too few rows": (frame.iloc[-SEQ_LEN + 1 :], f"has {SEQ_LEN - 1} rows, but"),
        "an empty cell": (with_gap_cell, "column b has no number at 2024-01-13 07:00:00, inside the look-back"),
        "a cell of text": (with_text, "column b holds 'broken'"),
        "unsorted dates": (frame.iloc[::-1], "dates must rise from row to row"),
        "a repeated date": (repeated, "dates must rise from row to row"),
        "no dates": (frame.drop(columns="date"), "has no column called date"),
    }


@pytest.mark.parametrize("fault", wrong_files())
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_wrong_file_is_one_line_and_exit_code_2_and_nothing_is_left_behind(fit, tmp_path, capsys, fault, suffix):
    frame, part = wrong_files()[fault]
    if suffix == "parquet" and fault == "a cell of text":
        frame = frame.astype({"b": str})
    path = tmp_path / f"new.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path, index=False)
    assert predict(fit, path, tmp_path / "out" / "forecast.csv") == run.WRONG_INPUT
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:] and part in lines[-1]
    assert str(path) in lines[-1] and "Traceback" not in printed.err
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_values_beyond_what_can_be_computed_are_refused_instead_of_a_forecast_of_infinities(forecaster):
    frame = table()
    frame["b"] = 1e308
    with pytest.raises(ValueError, match="the forecast is not finite"):
        forecaster.predict(frame)


def test_such_a_file_is_one_line_too(fit, tmp_path, capsys):
    frame = table()
    frame.loc[frame.index[-1], "b"] = 1e300
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert predict(fit, tmp_path / "new.csv", tmp_path / "forecast.csv") == run.WRONG_INPUT
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "is not finite" in error.splitlines()[-1]
    assert not (tmp_path / "forecast.csv").exists()


def test_a_scaling_that_leaves_the_range_of_numbers_is_refused(fit):
    huge = load_forecaster(fit)
    channels = len(huge.scaler.mean)
    huge.scaler = Standardizer(mean=np.full(channels, 1.7e308), scale=np.full(channels, 1e308))
    with pytest.raises(ValueError, match="not finite in the units"):
        huge.predict(table())


def test_the_weights_of_another_run_are_refused_however_the_file_is_named(fit, tmp_path, monkeypatch):
    other = train(fit.parent.parent / "my.csv", tmp_path / "results", "--seed", "9")
    copy = shutil.copytree(fit, tmp_path / fit.name)
    for name in ("best.safetensors", "mine.safetensors"):
        shutil.copy(other / "checkpoint" / "best.safetensors", copy / "checkpoint" / name)
    monkeypatch.chdir(copy / "checkpoint")
    for path in ("best.safetensors", "mine.safetensors", copy / "checkpoint" / "mine.safetensors"):
        with pytest.raises(OSError, match="belongs to another run"):
            load_forecaster(path)


@pytest.mark.parametrize("fault", [name for name in wrong_files() if name != "a missing column"])
def test_a_wrong_data_frame_is_refused_with_the_same_reasons(forecaster, fault):
    frame, _ = wrong_files()[fault]
    with pytest.raises(ValueError, match="the data frame"):
        forecaster.predict(frame)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--interval", "1.5"], "--interval must lie between 0 and 1"),
        (["--interval", "0.999"], "choose at most"),
        (["--batch_size", "4"], "--batch_size belongs to training: the checkpoint says it"),
        (["--model", "DLinear"], "--model belongs to training: the checkpoint says it"),
        (["--patch_len", "4"], "--patch_len belongs to --model"),
        (["--intervall", "0.9"], "--intervall is not a flag, did you mean --interval"),
        (["--llm_model", "random"], "--llm_model has no meaning here: DLinear reads no LLM"),
        (["--date_column", "when"], "--date_column when is not a column"),
    ],
)
def test_a_flag_that_cannot_be_followed_is_one_line_and_nothing_is_written(fit, place, tmp_path, capsys, flags, part):
    assert predict(fit, place / "my.csv", tmp_path / "forecast.csv", *flags) == run.WRONG_INPUT
    assert part in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_wrong_paths_are_named(fit, place, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.safetensors").write_bytes((fit / "checkpoint/best.safetensors").read_bytes()[:-10])
    shutil.copy(place / "my.csv", tmp_path / "my.csv")
    wrong = [
        (tmp_path / "no_run", tmp_path / "my.csv", "forecast.csv", "--checkpoint"),
        (tmp_path / "empty", tmp_path / "my.csv", "forecast.csv", "holds no checkpoint/best.safetensors"),
        (tmp_path / "damaged.safetensors", tmp_path / "my.csv", "forecast.csv", "damaged"),
        (tmp_path / "my.csv", tmp_path / "my.csv", "forecast.csv", "not a checkpoint"),
        (fit, tmp_path / "no.csv", "forecast.csv", "no.csv is missing"),
        (fit, tmp_path / "my.csv", "forecast.xlsx", "--output must end in .csv or .parquet"),
        (fit, tmp_path / "my.csv", "my.csv", "would replace --data_path"),
        (fit, tmp_path / "my.txt", "my.csv", "would replace --data_path"),
        (fit, tmp_path / "no.csv", "my.csv", "no.csv is missing"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for checkpoint, data, output, part in wrong:
        assert predict(checkpoint, data, tmp_path / output) == run.WRONG_INPUT
        assert part in capsys.readouterr().err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_while_writing_leaves_nothing_behind(fit, place, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("exp.exp_predict.plot_forecast", broken)
    assert predict(fit, place / "my.csv", tmp_path / "forecast.csv") == run.FAILED
    assert list(tmp_path.iterdir()) == []


def test_a_column_name_that_an_interval_would_take_is_refused(tmp_path):
    frame = table(200).rename(columns={"b": "a_lower"})
    frame.to_csv(tmp_path / "my.csv", index=False)
    fit = train(tmp_path / "my.csv", tmp_path / "results")
    with pytest.raises(ValueError, match="two columns called a_lower"):
        load_forecaster(fit).predict(frame, interval=0.8)
    assert len(load_forecaster(fit).predict(frame)) == PRED_LEN


def test_help_of_predict_lists_its_own_flags_and_no_training_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--task_name", "predict", "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and "--rolling" in shown and "--learning_rate" not in shown and "--model " not in shown


def test_a_table_that_ends_with_the_last_year_is_one_line(fit, tmp_path, capsys):
    """Python's dates end with the year 9999."""
    frame = table()
    frame["date"] = pd.date_range(end="9999-12-31 23:00:00", periods=len(frame), freq="h", unit="s")
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert predict(fit, tmp_path / "new.csv", tmp_path / "forecast.csv") == run.WRONG_INPUT
    error = capsys.readouterr().err
    assert "Traceback" not in error and "year" in error.splitlines()[-1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.csv"]


def test_a_checkpoint_of_sizes_that_no_training_had_is_refused_before_memory_is_taken(fit, tmp_path, capsys):
    tensors, header = load_checkpoint(fit / "checkpoint" / "best.safetensors")
    header["data_config"] |= {"seq_len": 10**9, "pred_len": 10**9}
    save_checkpoint(tmp_path / "best.safetensors", tensors, header)
    table().to_csv(tmp_path / "new.csv", index=False)
    assert predict(tmp_path / "best.safetensors", tmp_path / "new.csv", tmp_path / "forecast.csv") == run.WRONG_INPUT
    assert "are no training's" in capsys.readouterr().err
