"""Kinds of tables that were once forecast wrong without a word: each is now right, or refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import run
from data_provider.data_factory import load_series
from exp.predict.forecaster import load_forecaster
from tests.data_provider.conftest import config_of
from tests.exp.small_runs import PRED_LEN, SEQ_LEN, predict, train

NUM_ROWS = 300
WAVE = np.sin(np.arange(NUM_ROWS) / 24 * 2 * np.pi)


def written(folder: Path, frame: pd.DataFrame, **options) -> Path:
    frame.to_csv(folder / "my.csv", index=False, **options)
    return folder / "my.csv"


def forecast(path: Path, *flags: str) -> Any:
    """The forecast of a table after its last row, by the commands."""
    fit = train(path, path.parent / "results", *flags)
    assert predict(fit, path, path.parent / "forecast.csv") == 0
    return pd.read_csv(path.parent / "forecast.csv", parse_dates=["date"])


DATES = {
    "working days without a holiday": (pd.bdate_range("2020-01-06", periods=NUM_ROWS + PRED_LEN), [17]),
    "months without one": (pd.date_range("1990-01-01", periods=NUM_ROWS + PRED_LEN, freq="MS"), [37]),
    "quarter ends without one": (pd.date_range("1950-01-01", periods=NUM_ROWS + PRED_LEN, freq="QE"), [37]),
}


@pytest.mark.parametrize("kind", DATES)
def test_a_calendar_with_gaps_is_forecast_on_itself(tmp_path, kind):
    dates, missing = DATES[kind]
    frame = pd.DataFrame({"date": dates[:NUM_ROWS], "y": WAVE}).drop(index=missing)
    found = forecast(written(tmp_path, frame))
    assert found["date"].tolist() == dates[NUM_ROWS:].tolist()


def test_days_at_local_midnight_come_back_in_their_zone(tmp_path):
    days = pd.date_range("2023-01-01", periods=NUM_ROWS + PRED_LEN, freq="D", tz="Europe/Berlin")
    frame = pd.DataFrame({"date": days[:NUM_ROWS], "y": WAVE})
    frame.to_parquet(tmp_path / "my.parquet", index=False)
    fit = train(tmp_path / "my.parquet", tmp_path / "results", "--split", "2023-08-01,2023-09-01T00:00+02:00")
    assert list(load_forecaster(fit).predict(frame)["date"]) == list(days[NUM_ROWS:])
    assert predict(fit, tmp_path / "my.parquet", tmp_path / "forecast.csv") == 0
    assert first_date(tmp_path) == "2023-10-28 00:00:00+02:00"


def test_a_large_level_keeps_the_digits_of_its_wave_in_forecast_and_plots(tmp_path):
    hours = pd.date_range("2024-01-01", periods=NUM_ROWS, freq="h")
    path = written(tmp_path, pd.DataFrame({"date": hours, "y": 1e10 + WAVE}))
    found = forecast(path)
    assert found["y"].nunique() == PRED_LEN and (found["y"] - 1e10).abs().max() < 3
    (folder,) = (tmp_path / "results").iterdir()
    shown = load_file(folder / "forecasts.safetensors")["target"][0, :, 0]
    assert np.ptp(shown) > 0.1
    assert np.isin(shown.round(6), (1e10 + WAVE).round(6)).mean() > 0.9


@pytest.mark.parametrize("factor", [1e160, 1e-200])
def test_sizes_whose_squares_are_no_numbers_are_refused(tmp_path, capsys, factor):
    hours = pd.date_range("2024-01-01", periods=NUM_ROWS, freq="h")
    path = written(tmp_path, pd.DataFrame({"date": hours, "y": WAVE * factor}))
    assert refused(path) == run.WRONG_INPUT
    assert "column y" in capsys.readouterr().err


def first_date(folder: Path) -> str:
    return (folder / "forecast.csv").read_text().splitlines()[1].split(",")[0]


def refused(path: Path, *flags: str) -> int:
    sizes = ["--seq_len", str(SEQ_LEN), "--pred_len", str(PRED_LEN), "--output_dir", str(path.parent / "results")]
    code = run.main(["--model", "DLinear", "--data", "custom", "--data_path", str(path), *sizes, *flags])
    assert not (path.parent / "results").exists()
    return code


def test_an_uneven_step_is_refused_before_training(tmp_path, capsys):
    seconds = np.arange(NUM_ROWS) * 600 + np.random.default_rng(0).integers(0, 8, NUM_ROWS)
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s")
    path = written(tmp_path, pd.DataFrame({"date": dates, "y": WAVE}))
    assert refused(path) == run.WRONG_INPUT
    assert "have no regular step" in capsys.readouterr().err


def test_an_ambiguous_split_is_refused_and_decided_by_the_date_format(tmp_path, capsys):
    days = pd.date_range("2020-03-01", periods=NUM_ROWS, freq="D")
    path = written(tmp_path, pd.DataFrame({"date": days.strftime("%d.%m.%Y"), "y": WAVE}))
    split = "03.09.2020,09.12.2020"
    assert refused(path, "--split", split) == run.WRONG_INPUT
    assert "03.09.2020 can be 2020-09-03 (day first) or 2020-03-09 (month first)" in capsys.readouterr().err
    series = load_series(config_of(path, split=split, date_format="%d.%m.%Y"))
    assert str(series.dates[series.borders.train]) == "2020-09-03 00:00:00"


def test_a_channel_that_varies_only_after_training_is_named(tmp_path):
    hours = pd.date_range("2024-01-01", periods=NUM_ROWS, freq="h")
    late = np.where(np.arange(NUM_ROWS) < 250, 0, 5000 + 100 * WAVE)
    notes = load_series(config_of(written(tmp_path, pd.DataFrame({"date": hours, "a": WAVE, "late": late})))).notes
    assert [note for note in notes if "column late is constant (0) in the training rows and varies later" in note]
    assert not [note for note in notes if "column a is constant" in note]


def test_training_and_prediction_read_names_and_numbers_alike(tmp_path):
    hours = pd.date_range("2024-01-01", periods=NUM_ROWS, freq="h")
    frame = pd.DataFrame({"date": hours, " load ": WAVE.round(6) + 1})
    path = written(tmp_path, frame, sep=";", decimal=",")
    found = forecast(path)
    assert list(found) == ["date", "load"]
    (folder,) = (tmp_path / "results").iterdir()
    again = load_forecaster(folder).predict(frame)
    np.testing.assert_allclose(found["load"], again["load"], rtol=1e-7)


def test_reading_flags_of_training_hold_for_prediction(tmp_path):
    days = pd.date_range("2020-01-01", periods=NUM_ROWS, freq="D")
    path = written(
        tmp_path,
        pd.DataFrame({"date": days.strftime("%d.%m.%Y"), "y": [f"{1000 + v:,.0f}" for v in WAVE * 900 + 1000]}),
    )
    fit = train(path, tmp_path / "results", "--date_format", "%d.%m.%Y", "--thousands", ",")
    forecaster = load_forecaster(fit)
    assert forecaster.data.thousands == "," and forecaster.scaler.mean[0] > 1000
    last = pd.read_csv(path).tail(SEQ_LEN)
    last.to_csv(tmp_path / "last.csv", index=False)
    assert predict(fit, tmp_path / "last.csv", tmp_path / "forecast.csv") == 0
    assert first_date(tmp_path) == "2020-10-27 00:00:00"
