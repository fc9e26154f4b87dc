"""Training and forecasting from Python: what comes back, and errors in the words of the call."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from exp.predict.forecaster import FittedForecaster, load_forecaster
from exp.python_call import train

SIZES = {"model": "NLinear", "seq_len": 24, "pred_len": 6, "batch_size": 64, "train_epochs": 1, "device": "cpu"}


def frame(num_rows: int = 200) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    dates = pd.date_range("2024-01-01", periods=num_rows, freq="h")
    return pd.DataFrame({"date": dates, "A": generator.normal(size=num_rows), "B": generator.normal(size=num_rows)})


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> FittedForecaster:
    return train(frame(), output_dir=str(tmp_path_factory.mktemp("runs")), **SIZES)


def test_a_file_a_frame_and_a_frame_with_dates_as_index_give_the_same_forecast(tmp_path, forecaster):
    frame().to_csv(tmp_path / "table.csv", index=False)
    expected = forecaster.predict(frame())
    for data in (tmp_path / "table.csv", frame().set_index("date")):
        found = train(data, output_dir=str(tmp_path / "runs"), **SIZES).predict(frame())
        pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-5)


def test_the_same_call_again_returns_the_finished_run(forecaster):
    folder = forecaster.folder
    written = folder.metrics.stat().st_mtime_ns
    again = train(frame(), output_dir=str(folder.path.parent), **SIZES)
    assert again.folder.path == folder.path and folder.metrics.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(again.predict(frame()), forecaster.predict(frame()))
    assert again.metrics["tests"]["table"]["mse"] > 0


def test_two_trainings_in_one_process_may_compute_in_different_precisions(tmp_path, forecaster):
    values = forecaster.predict(frame())["A"]
    halved = train(frame(), output_dir=str(tmp_path), precision="bf16", **SIZES).predict(frame())["A"]
    np.testing.assert_allclose(values, halved, rtol=0.1, atol=0.05)


def test_settings_may_be_lists_and_booleans(tmp_path):
    table = frame().rename(columns={"B": "b, c"})
    found = train(table, output_dir=str(tmp_path), columns=["A"], split=[0.6, 0.2, 0.2], fast_dev_run=True, **SIZES)
    assert found.columns == ["A"]
    assert found.data.split == "0.6,0.2,0.2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"percent": 0}, "percent must be in 1..100, got 0"),
        ({"seq_lenn": 24}, "seq_lenn is not an argument, did you mean seq_len"),
        ({"lora_rank": 4}, "lora_rank belongs to model CALF"),
        ({"model": "NLiner"}, "model NLiner is unknown; did you mean NLinear"),
        ({"precision": "fp8"}, "precision: invalid choice: 'fp8'"),
        ({"batch_size": "many"}, "batch_size: invalid int value: 'many'"),
        ({"seeds": [1, 2]}, "train takes no seeds: call train once for each seed"),
        ({"no_compile": True}, "train takes no no_compile: give compile=False"),
        ({"columns": ["A", "C"]}, "the data frame has no column C"),
        ({"target": "C", "features": "S"}, "target C is not a column of the data frame"),
        ({"seq_len": 400}, "one window needs seq_len 400"),
        ({"name": "a/b"}, "name must be a file name without folders"),
    ],
)
def test_wrong_settings_are_told_without_flags_and_nothing_is_written(tmp_path, settings, message):
    with pytest.raises(ValueError) as refusal:
        train(frame(), **{**SIZES, "output_dir": str(tmp_path / "runs"), **settings})
    assert message in str(refusal.value) and "--" not in str(refusal.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (frame().iloc[::-1], "the data frame: dates are not sorted"),
        (frame().assign(A=frame()["A"].mask(frame().index == 5)), "in column A at 2024-01-01 05:00:00: mend it in the"),
        (frame().drop(columns="date"), "name it with date_column"),
        (frame().assign(A=[["x"], {}] * 100), "column of mixed or unknown type"),
        ("etth1", "the nearest are ETTh1"),
        ("M4", "the task short_term_forecast"),
    ],
)
def test_wrong_data_are_told_without_flags_or_commands(tmp_path, table, message):
    with pytest.raises(ValueError) as refusal:
        train(table, output_dir=str(tmp_path / "runs"), **SIZES)
    said = str(refusal.value)
    assert message in said and "--" not in said and "python -m" not in said and "balm-" not in said
    assert "\n" not in said


def test_a_missing_file_is_told_as_data(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^data .*no\.csv is missing"):
        train(tmp_path / "no.csv", **SIZES)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (frame(5), {}, "the data frame has 5 rows"),
        (frame().assign(A=np.nan), {}, "column A has no number at"),
        (frame().iloc[::-1], {}, "dates must rise"),
        (frame().drop(columns="date"), {}, "name date_column"),
        (frame(), {"interval": 1.5}, "interval must lie between 0 and 1"),
        (frame(), {"interval": 0.123}, "interval 0.123 is not a level"),
        (frame(), {"date_column": "when"}, "date_column"),
        (
            frame(),
            {"interval": 0.8, "interval_method": "adaptve"},
            "interval_method must be default or quantiles",
        ),
    ],
)
def test_a_wrong_forecast_call_is_told_without_flags_or_commands(forecaster, table, options, message):
    with pytest.raises(ValueError) as refusal:
        forecaster.predict(table, **options)
    said = str(refusal.value)
    assert message in said and "--" not in said and "python -m" not in said


def test_the_date_column_of_a_forecast_may_have_another_name(forecaster):
    renamed = frame().rename(columns={"date": "when"})
    pd.testing.assert_frame_equal(forecaster.predict(renamed, date_column="when"), forecaster.predict(frame()))


def test_a_computed_level_is_the_level_that_it_means(forecaster):
    pd.testing.assert_frame_equal(
        forecaster.predict(frame(), interval=0.3 + 0.5), forecaster.predict(frame(), interval=0.8)
    )
    pd.testing.assert_frame_equal(
        forecaster.predict(frame(), interval=0.1 + 0.7), forecaster.predict(frame(), interval=0.8)
    )


def test_loading_speaks_of_its_own_arguments(forecaster):
    with pytest.raises(FileNotFoundError, match=r"^run nowhere is missing"):
        load_forecaster("nowhere")
    with pytest.raises(ValueError, match=r"^device must be one of auto, cpu, cuda, mps"):
        load_forecaster(forecaster.folder.path, device="gpu")
    with pytest.raises(ValueError, match=r"^tslib_path has no meaning here"):
        load_forecaster(forecaster.folder.path, tslib_path="x")
