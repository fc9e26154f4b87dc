"""The future of a table from a checkpoint: the numbers of the training, continued dates, intervals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exp.predict.forecaster import load_forecaster
from layers.llm.loading import LLMConfig, load_backbone
from tests.exp.small_runs import PRED_LEN, SEQ_LEN, TINY_LLM, predict, table, train
from utils.checkpoint import load_checkpoint
from utils.intervals.conformal import conformal_rank


def recorded_sample(fit: Path, number: int = 3) -> tuple[dict[str, np.ndarray], str, list[str]]:
    """Look-back, target and forecast of a test window as training wrote them, its first date and the columns."""
    tensors, header = load_checkpoint(fit / "forecasts.safetensors")
    sample = {name: tensors[name][number].numpy() for name in ("look_back", "target", "forecast")}
    return sample, header["first_dates"][number], header["columns"]


MODELS = {
    "DLinear": [],
    "iTransformer": ["--d_model", "8", "--n_heads", "2", "--e_layers", "1", "--d_ff", "8"],
    "GPT4TS": TINY_LLM,
    "BALM": [*TINY_LLM, "--d_model", "4", "--d_ff", "8", "--patch_len", "4", "--stride", "2"],
}


@pytest.mark.parametrize(
    ("model", "features"),
    [("DLinear", "M"), ("DLinear", "S"), ("iTransformer", "MS"), ("GPT4TS", "MS"), ("BALM", "M"), ("BALM", "MS")],
)
def test_a_forecast_after_the_rows_of_a_test_window_is_the_one_that_training_recorded(tmp_path, model, features):
    frame = table(200)
    frame.to_csv(tmp_path / "my.csv", index=False)
    flags = [] if features == "M" else ["--features", features, "--target", "b"]
    fit = train(tmp_path / "my.csv", tmp_path / "results", *flags, *MODELS[model], "--fast_dev_run", model=model)
    sample, first_date, columns = recorded_sample(fit)
    assert columns == (["a", "b", "c"] if features == "M" else ["b"])
    found = load_forecaster(fit).predict(frame.loc[frame["date"] < first_date])
    assert list(found.columns) == ["date", *columns]
    assert found["date"].iloc[0] == pd.Timestamp(first_date) and len(found) == PRED_LEN
    np.testing.assert_allclose(found[columns], sample["forecast"], rtol=1e-5)


def test_the_command_writes_the_future_with_continued_dates_a_plot_and_a_note(place, fit, capsys):
    assert predict(fit, place / "my.csv", place / "out" / "forecast.csv") == 0
    assert sorted(path.name for path in (place / "out").iterdir()) == ["forecast.csv", "forecast.png", "forecast.txt"]
    written = pd.read_csv(place / "out" / "forecast.csv", parse_dates=["date"])
    future = pd.date_range("2024-01-13 12:00", periods=PRED_LEN, freq="h")
    assert written["date"].tolist() == future.tolist()
    expected = load_forecaster(fit).predict(table())
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, rtol=1e-8)
    note, shown = (place / "out" / "forecast.txt").read_text(), capsys.readouterr().out
    metrics = json.loads((fit / "metrics.json").read_text())
    for name, error in zip("abc", metrics["tests"]["my"]["per_channel"]["mae_original"], strict=True):
        assert f"{name} " in note and f"{error:.4g}" in note and f"{error:.4g}" in shown


def test_forecasts_are_in_original_units_of_each_column(forecaster):
    found = forecaster.predict(table())
    for name, size in (("a", 1), ("b", 10), ("c", 100)):
        assert found[name].between(1.5 * size, 4.5 * size).all()


def test_columns_in_another_order_beside_others_are_found_by_name(forecaster):
    frame = table()
    shuffled = frame[["c", "date", "a", "b"]].assign(unknown="text")
    pd.testing.assert_frame_equal(forecaster.predict(shuffled), forecaster.predict(frame))


def test_dates_may_be_the_index_of_a_data_frame(forecaster):
    pd.testing.assert_frame_equal(forecaster.predict(table().set_index("date")), forecaster.predict(table()))


def test_a_forecast_depends_on_the_last_seq_len_rows_alone(forecaster):
    frame = table()
    earlier = frame.copy()
    earlier.loc[: len(frame) - SEQ_LEN - 1, ["a", "b", "c"]] = np.nan
    pd.testing.assert_frame_equal(forecaster.predict(earlier), forecaster.predict(frame))
    changed = frame.copy()
    changed.loc[len(frame) - SEQ_LEN, "a"] += 1
    assert (forecaster.predict(changed)["a"] != forecaster.predict(frame)["a"]).all()


@pytest.mark.parametrize("num_rows", [SEQ_LEN, SEQ_LEN + 1, 150])
def test_rolling_gives_for_every_window_what_a_forecast_after_its_last_row_gives(forecaster, num_rows):
    frame = table(num_rows)
    rolling = forecaster.predict(frame, rolling=True, interval=0.9)
    ends = range(SEQ_LEN, num_rows + 1)
    assert rolling["made_at"].unique().tolist() == frame["date"].iloc[[end - 1 for end in ends]].tolist()
    for end in (ends[0], ends[-1]):
        alone = forecaster.predict(frame.iloc[:end], interval=0.9)
        part = rolling.loc[rolling["made_at"] == frame["date"].iloc[end - 1]].drop(columns="made_at")
        pd.testing.assert_frame_equal(part.reset_index(drop=True), alone, rtol=1e-6)


def test_rolling_of_a_univariate_series_and_of_a_channel_independent_model_keeps_channels_apart(tmp_path):
    frame = table(200)
    frame.to_csv(tmp_path / "my.csv", index=False)
    fit = train(tmp_path / "my.csv", tmp_path / "results", *TINY_LLM, "--fast_dev_run", model="GPT4TS")
    forecaster = load_forecaster(fit)
    rolling = forecaster.predict(frame.iloc[:40], rolling=True)
    for end in (SEQ_LEN, 33, 40):
        part = rolling.loc[rolling["made_at"] == frame["date"].iloc[end - 1]].drop(columns="made_at")
        pd.testing.assert_frame_equal(part.reset_index(drop=True), forecaster.predict(frame.iloc[:end]), rtol=1e-5)


def test_a_rolling_parquet_file_holds_what_the_csv_holds(place, fit):
    for suffix in ("csv", "parquet"):
        assert predict(fit, place / "my.csv", place / f"rolling.{suffix}", "--rolling") == 0
    written = pd.read_csv(place / "rolling.csv", parse_dates=["made_at", "date"])
    assert len(written) == (300 - SEQ_LEN + 1) * PRED_LEN
    pd.testing.assert_frame_equal(pd.read_parquet(place / "rolling.parquet"), written, check_dtype=False, rtol=1e-8)


def test_intervals_are_the_ranked_validation_errors_around_the_forecast_in_original_units(forecaster):
    frame = table()
    rolling = forecaster.predict(frame, rolling=True)
    truth = frame.set_index("date")
    # 300 rows: training ends at 210, validation at 240, so 25 windows of 6 steps lie in validation.
    first_targets = frame["date"].iloc[210 : 240 - PRED_LEN + 1]
    made = rolling[rolling["made_at"].isin(first_targets - pd.Timedelta(hours=1))]
    errors = np.abs(made[["a", "b", "c"]].to_numpy() - truth.loc[made["date"], ["a", "b", "c"]].to_numpy())
    by_step = np.sort(errors.reshape(len(first_targets), PRED_LEN, 3), axis=0)
    rank = conformal_rank(len(first_targets), 0.9)
    assert rank == 24
    found = forecaster.predict(frame, interval=0.9)
    for position, name in enumerate("abc"):
        np.testing.assert_allclose(found[f"{name}_upper"] - found[name], by_step[rank - 1, :, position], rtol=1e-4)
        np.testing.assert_allclose(found[name] - found[f"{name}_lower"], by_step[rank - 1, :, position], rtol=1e-4)


def test_metrics_report_how_often_the_test_values_lie_inside_the_intervals(fit, forecaster):
    frame = table()
    truth = frame.set_index("date")
    covered = json.loads((fit / "metrics.json").read_text())["tests"]["my"]["coverage"]
    for level in (0.8, 0.9):
        rolling = forecaster.predict(frame, rolling=True, interval=level)
        first_targets = frame["date"].iloc[240 : 300 - PRED_LEN + 1]
        made = rolling[rolling["made_at"].isin(first_targets - pd.Timedelta(hours=1))]
        shares = []
        for name in "abc":
            values = truth.loc[made["date"], name].to_numpy()
            shares.append(((made[f"{name}_lower"] <= values) & (values <= made[f"{name}_upper"])).mean())
        assert covered["per_channel"][f"{level:g}"] == pytest.approx(shares, abs=2e-3)
        assert covered[f"{level:g}"] == pytest.approx(np.mean(shares), abs=2e-3)


def test_a_checkpoint_is_enough_wherever_it_is_moved_and_whichever_way_it_is_named(fit, tmp_path, forecaster):
    expected = forecaster.predict(table(), interval=0.8)
    shutil.copytree(fit / "checkpoint", tmp_path / "moved" / "checkpoint")
    for named in (tmp_path / "moved", tmp_path / "moved/checkpoint", tmp_path / "moved/checkpoint/best.safetensors"):
        pd.testing.assert_frame_equal(load_forecaster(named).predict(table(), interval=0.8), expected)
    table().to_csv(tmp_path / "my.csv", index=False)
    assert predict(tmp_path / "moved", tmp_path / "my.csv", tmp_path / "forecast.csv") == 0
    assert "test errors are not known" in (tmp_path / "forecast.txt").read_text()


def test_the_frozen_llm_is_found_where_it_lies_now_and_must_have_its_weights_of_training(tmp_path):
    table(200).to_csv(tmp_path / "my.csv", index=False)
    for seed, name in ((1, "llm"), (2, "another")):
        llm = load_backbone(LLMConfig(llm_model="random", llm_layers=1, llm_width=8, llm_heads=2, llm_seed=seed))
        llm.model.save_pretrained(tmp_path / name)
        llm.tokenizer.save(str(tmp_path / name / "tokenizer.json"))
    flags = ["--llm_model", str(tmp_path / "llm"), "--llm_layers", "1", "--fast_dev_run"]
    fit = train(tmp_path / "my.csv", tmp_path / "results", *flags, model="GPT4TS")
    expected = load_forecaster(fit).predict(table())
    (tmp_path / "llm").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"^llm_model"):
        load_forecaster(fit)
    moved = load_forecaster(fit, llm_model=str(tmp_path / "moved"))
    pd.testing.assert_frame_equal(moved.predict(table()), expected)
    with pytest.raises(ValueError, match=r"trained with another LLM than the one found now.*sha256"):
        load_forecaster(fit, llm_model=str(tmp_path / "another"))
