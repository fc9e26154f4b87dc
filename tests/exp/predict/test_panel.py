"""Long tables whose series have dates of their own: windows within a series, one scaler each, forecasts as long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import run
from data_provider import check
from data_provider.data_factory import load_data
from data_provider.panel import Panel
from exp.predict.forecaster import load_forecaster
from exp.python_call import train as train_in_python
from tests.data_provider.conftest import config_of
from tests.exp.small_runs import PRED_LEN, SEQ_LEN, TINY_LLM, predict, train

LENGTHS = {"long": 300, "late": 200, "early": 150}
NAMES = {"unique_id": "shop", "ds": "day", "y": "sales"}
FLAGS = ["--series_column", "shop", "--value_column", "sales", "--date_column", "day"]


def values_of(name: str, num_rows: int) -> np.ndarray:
    """Values that say which series they are of, and which row: 1000, 2000, 3000 and the row's number."""
    size = 1000.0 * (1 + list(LENGTHS).index(name))
    return size + np.arange(num_rows) % 24 + np.random.default_rng(0).normal(0, 0.1, num_rows)


def panel(lengths: dict[str, int] | None = None) -> Any:
    """Hours: `late` ends with `long` but begins later, `early` ends before."""
    frames = []
    for name, num_rows in (lengths or LENGTHS).items():
        hours = pd.date_range("2024-01-01", periods=LENGTHS["long"], freq="h")
        hours = hours[:num_rows] if name != "late" else hours[-num_rows:]
        frames.append(pd.DataFrame({"unique_id": name, "ds": hours, "y": values_of(name, num_rows)}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    panel().rename(columns=NAMES).to_csv(tmp_path / "panel.csv", index=False)
    return tmp_path / "panel.csv"


def config(path: Path, **changes):
    return config_of(path, series_column="shop", value_column="sales", date_column="day", **changes)


def test_windows_lie_within_a_series_that_has_a_scaler_and_splits_of_its_own(path):
    data = load_data(config(path))
    assert isinstance(data, Panel) and data.columns == list(LENGTHS) and data.num_channels == 1
    for name, part, mean in zip(data.columns, data.parts, data.scaler.mean, strict=True):
        expected = values_of(name, LENGTHS[name])
        assert part.borders.train == int(0.7 * len(expected)) and part.borders.test == len(expected)
        np.testing.assert_allclose(part.values, expected, rtol=1e-12)
        assert mean == pytest.approx(expected[: part.borders.train].mean())
    windows = data.windows("test", config=config(path))
    counts = [len(part.values) - part.borders.validation - 4 + 1 for part in data.parts]
    assert len(windows) == sum(counts) and windows.num_windows == max(counts)
    batch = windows[range(len(windows))]
    number, series = windows.window_and_channel(batch.rows)
    assert series.tolist() == [channel for channel, count in enumerate(counts) for _ in range(count)]
    assert [int(number[series == channel].max()) for channel in range(3)] == [windows.num_windows - 1] * 3
    both = np.concatenate([batch.look_back, batch.target], axis=1)[..., 0]
    mean, scale = data.scaler.mean[series], data.scaler.scale[series]
    found = both * scale[:, None] + mean[:, None]
    for row, channel in enumerate(series.tolist()):
        part = data.parts[channel]
        start = len(part.values) - 12 - (windows.num_windows - 1 - int(number[row]))
        np.testing.assert_allclose(found[row], part.values[start : start + 12], rtol=1e-5)
    original = windows.original_look_back(batch.rows)
    np.testing.assert_allclose(original["original"][..., 0], found[:, :8], rtol=1e-5)
    assert windows.rows_of_windows([windows.num_windows - 1]).tolist() == (np.cumsum(counts) - 1).tolist()
    assert windows.sample_channels == [0, 1]
    assert str(windows.target_dates(windows.num_windows - 1)[-1]) == str(data.parts[0].dates[-1])


def test_it_is_checked_trained_on_and_forecast_in_long_format(path, tmp_path, capsys):
    assert check.main([str(path), *FLAGS]) == 0
    said = capsys.readouterr().out
    assert "series of 150 to 300 rows, 3 of them" in said and "--seq_len 36: --pred_len up to 15 for all series" in said
    fit = train(path, tmp_path / "results", *FLAGS)
    assert predict(fit, path, tmp_path / "forecast.csv", "--interval", "0.8") == 0
    written: Any = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["day"])
    assert list(written) == ["shop", "day", "sales", "sales_lower", "sales_upper"]
    frame = panel().rename(columns=NAMES)
    for name, part in written.groupby("shop"):
        last = frame.loc[frame["shop"] == name, "day"].max()
        assert part["day"].tolist() == pd.date_range(last, periods=PRED_LEN + 1, freq="h")[1:].tolist()
        level = 1000 * (1 + list(LENGTHS).index(str(name)))
        assert part["sales"].between(level - 60, level + 60).all()
    forecaster = load_forecaster(fit)
    pd.testing.assert_frame_equal(written, forecaster.predict(frame, interval=0.8), check_dtype=False, rtol=1e-7)
    test: Any = forecaster.metrics["tests"]["panel"]
    assert test["per_channel"]["columns"] == list(LENGTHS)
    assert (tmp_path / "forecast.png").stat().st_size > 0


def test_a_forecast_of_one_series_is_the_same_alone_and_among_others_and_rolls(path, tmp_path):
    frame = panel().rename(columns=NAMES)
    forecaster = train_in_python(
        path, model="NLinear", seq_len=SEQ_LEN, pred_len=PRED_LEN, train_epochs=1, output_dir=str(tmp_path / "runs"),
        series_column="shop", value_column="sales", date_column="day", device="cpu",
    )  # fmt: skip
    together: Any = forecaster.predict(frame)
    alone = forecaster.predict(frame[frame["shop"] == "early"])
    pd.testing.assert_frame_equal(together[together["shop"] == "early"].reset_index(drop=True), alone)
    rolled: Any = forecaster.predict(frame, rolling=True)
    assert rolled.groupby("shop")["made_at"].nunique().to_dict() == {n: c - SEQ_LEN + 1 for n, c in LENGTHS.items()}
    last = rolled[rolled["made_at"] == rolled.groupby("shop")["made_at"].transform("max")].drop(columns="made_at")
    pd.testing.assert_frame_equal(last.reset_index(drop=True), together, rtol=1e-5)


SMALL = {
    "PatchTST": ["--d_model", "8", "--n_heads", "2", "--d_ff", "8"],
    "iTransformer": ["--d_model", "8", "--d_ff", "8"],
    "TimesNet": ["--d_model", "4", "--d_ff", "4"],
    "BALM": ["--d_model", "8", "--d_ff", "8", "--no_scaling", *TINY_LLM],
}


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=pytest.mark.long if name in ("BALM", "iTransformer") else ()) for name in SMALL]
)
def test_models_of_every_kind_read_one_series_at_a_time(path, tmp_path, model):
    fit = train(path, tmp_path / "results", *FLAGS, *SMALL[model], "--fast_dev_run", model=model)
    assert predict(fit, path, tmp_path / "forecast.parquet") == 0


def test_a_model_that_needs_several_channels_is_refused_by_name(path, tmp_path, capsys):
    sizes = ["--seq_len", "24", "--pred_len", "6", "--output_dir", str(tmp_path / "results")]
    command = ["--model", "TimeCMA", "--data", "custom", "--data_path", str(path), *FLAGS, *TINY_LLM, *sizes]
    assert run.main(command) == run.WRONG_INPUT
    assert "TimeCMA normalises over channels" in capsys.readouterr().err


def test_adaptive_intervals_follow_each_series(path, tmp_path):
    fit = train(path, tmp_path / "results", *FLAGS)
    flags = ["--interval", "0.8", "--interval_method", "adaptive"]
    assert predict(fit, path, tmp_path / "forecast.csv", *flags) == 0
    assert "past windows of the file" in (tmp_path / "forecast.txt").read_text()


def test_series_too_short_are_left_out_by_name_and_refused_where_none_is_long_enough(path, tmp_path, capsys):
    panel({"long": 300, "late": 60}).rename(columns=NAMES).to_csv(path, index=False)
    data = load_data(config(path, seq_len=SEQ_LEN, pred_len=PRED_LEN + 1))
    assert data.columns == ["long"] and any("left out (rows): late (60)" in note for note in data.notes)
    command = ["--model", "DLinear", "--data", "custom", "--data_path", str(path), *FLAGS, "--seq_len", "300"]
    assert run.main([*command, "--output_dir", str(tmp_path / "results")]) == run.WRONG_INPUT
    assert "every series is too short; of the longest, long (300 rows)" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_split_by_dates_cuts_every_series_there(path):
    data = load_data(config(path, split="2024-01-10,2024-01-12"))
    assert isinstance(data, Panel) and data.columns == ["long", "late"]
    for part in data.parts:
        assert str(part.dates[part.borders.train]) == "2024-01-10 00:00:00"
        assert str(part.dates[part.borders.validation]) == "2024-01-12 00:00:00"


def test_one_series_is_a_table_of_its_own_and_ms_is_refused(path):
    data = load_data(config(path, features="S", target="late"))
    assert not isinstance(data, Panel) and data.columns == ["late"] and len(data.values) == LENGTHS["late"]
    with pytest.raises(ValueError, match="--features MS reads other series"):
        load_data(config(path, features="MS", target="late"))


def test_a_repair_fills_gaps_within_a_series_and_keeps_the_rows_of_the_others(path, tmp_path, capsys):
    frame = panel().rename(columns=NAMES)
    frame.loc[10, "sales"] = None
    frame.drop(index=[20, 420]).to_csv(path, index=False)
    assert check.main([str(path), *FLAGS]) == 1
    assert "series long: missing or infinite cells: 1" in capsys.readouterr().out
    assert check.main([str(path), *FLAGS, "--fix", "interpolate"]) == 0
    said = capsys.readouterr().out
    assert "series long: missing dates inserted: 1" in said and "series late: missing dates inserted: 1" in said
    fixed: Any = pd.read_csv(tmp_path / "panel.fixed.csv", parse_dates=["day"])
    assert fixed.groupby("shop").size().to_dict() == LENGTHS
    pd.testing.assert_frame_equal(fixed[["shop", "day"]], frame[["shop", "day"]], check_dtype=False)


def test_a_file_that_lacks_series_or_is_wide_is_said(path, tmp_path, capsys):
    fit = train(path, tmp_path / "results", *FLAGS)
    frame = panel({"long": 100, "late": 10}).rename(columns=NAMES)
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert predict(fit, tmp_path / "new.csv", tmp_path / "forecast.csv") == 0
    assert pd.read_csv(tmp_path / "forecast.csv")["shop"].unique().tolist() == ["long"]
    assert "late (10), early (0)" in (tmp_path / "forecast.txt").read_text()
    frame.pivot(index="day", columns="shop", values="sales").to_csv(tmp_path / "wide.csv")
    assert predict(fit, tmp_path / "wide.csv", tmp_path / "forecast.csv", "--date_column", "day") == run.WRONG_INPUT
    assert "--series_column shop is not a column of" in capsys.readouterr().err


def test_a_value_in_the_test_rows_that_cannot_be_scaled_as_the_training_rows_say_is_refused(path, capsys):
    table = panel().rename(columns=NAMES)
    place = int(table.index[table["shop"] == "late"][-5])
    table.loc[place, "sales"] = 1e60
    table.to_csv(path, index=False)
    assert check.main([str(path), *FLAGS]) == 1
    assert "which is too large to be scaled" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"in column late at .*, which is too large to be scaled"):
        load_data(config(path))
