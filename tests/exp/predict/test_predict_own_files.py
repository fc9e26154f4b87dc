"""Files as people have them: check, train, forecast and plot work by the documented commands for each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from data_provider import check
from tests.exp.small_runs import PRED_LEN, TINY_LLM, predict, table, train


def daily_parquet(path: Path) -> tuple[Path, list[str], pd.DatetimeIndex]:
    """Days in a Parquet file."""
    table(step="D").to_parquet(path.with_suffix(".parquet"), index=False)
    return path.with_suffix(".parquet"), [], pd.date_range("2024-10-27", periods=PRED_LEN, freq="D")


def quarter_hours_with_a_gap(path: Path) -> tuple[Path, list[str], pd.DatetimeIndex]:
    """A quarter of an hour a row, four rows missing inside the last look-back."""
    table(step="15min").drop(index=range(285, 289)).to_csv(path, index=False)
    return path, [], pd.date_range("2024-01-04 03:00", periods=PRED_LEN, freq="15min")


def dates_with_a_zone(path: Path) -> tuple[Path, list[str], pd.DatetimeIndex]:
    """Hours of Tokyo, which come back in the forecast."""
    frame = table()
    frame["date"] = frame["date"].dt.tz_localize("Asia/Tokyo")
    frame.to_csv(path, index=False)
    return path, [], pd.date_range("2024-01-13 12:00", periods=PRED_LEN, freq="h", tz="UTC+09:00")


def one_channel(path: Path) -> tuple[Path, list[str], pd.DatetimeIndex]:
    """A univariate file whose dates have a name of their own."""
    table(channels=1).rename(columns={"date": "when"}).to_csv(path, index=False)
    return path, ["--date_column", "when"], pd.date_range("2024-01-13 12:00", periods=PRED_LEN, freq="h")


def month_starts(path: Path) -> tuple[Path, list[str], pd.DatetimeIndex]:
    """A calendar step, which has no fixed length."""
    table(step="MS", start="1990-01-01").to_csv(path, index=False)
    return path, [], pd.date_range("2015-01-01", periods=PRED_LEN, freq="MS")


FILES = [daily_parquet, quarter_hours_with_a_gap, dates_with_a_zone, one_channel, month_starts]


@pytest.mark.parametrize("make", FILES)
def test_check_train_and_forecast_work_on(tmp_path, make: Callable):
    path, date_flags, future = make(tmp_path / "my.csv")
    assert check.main([str(path), *date_flags]) == 0
    fit = train(path, tmp_path / "results", *date_flags)
    assert predict(fit, path, tmp_path / "forecast.csv", "--interval", "0.8") == 0
    written = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["date"])
    assert written["date"].tolist() == future.tolist()
    assert all(1.5 < value < 4.5 for value in written["a"])
    assert all(written["a_lower"] < written["a_upper"])
    assert (tmp_path / "forecast.png").stat().st_size > 10_000


def test_a_gap_in_the_look_back_and_a_zone_are_said_in_the_note(tmp_path):
    for make, part in ((quarter_hours_with_a_gap, "1 gap(s) in the dates"), (dates_with_a_zone, "converted to UTC")):
        (tmp_path / make.__name__).mkdir()
        path, _, _ = make(tmp_path / make.__name__ / "my.csv")
        fit = train(path, tmp_path / make.__name__ / "results")
        assert predict(fit, path, tmp_path / "forecast.csv") == 0
        assert part in (tmp_path / "forecast.txt").read_text()


@pytest.mark.shared
def test_the_weather_file_as_custom_data_is_repaired_trained_on_and_forecast_with_a_small_llm(shared, tmp_path):
    weather, repaired = shared / "dataset" / "weather" / "weather.csv", tmp_path / "weather.csv"
    assert check.main([str(weather)]) == 1
    fix = ["--missing_code=-9999", "--fix", "interpolate", "--output", str(repaired)]
    assert check.main([str(weather), *fix]) == 0
    columns = ["--columns", "T (degC),rh (%),OT"]
    small = [*TINY_LLM, "--d_model", "4", "--d_ff", "4", "--patch_len", "4", "--stride", "2", "--percent", "1"]
    fit = train(repaired, tmp_path / "results", *columns, *small, "--fast_dev_run", model="BALM")
    assert predict(fit, repaired, tmp_path / "forecast.csv") == 0
    written = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["date"])
    assert written["date"].tolist() == pd.date_range("2021-01-01 00:10", periods=PRED_LEN, freq="10min").tolist()
    assert list(written) == ["date", "T (degC)", "rh (%)", "OT"]
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
