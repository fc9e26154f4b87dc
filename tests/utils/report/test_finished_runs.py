"""Reading finished runs of both formats, and those that real runs leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.exp.runs import flags, run_folder, run_here
from utils.files import DamagedFile
from utils.report.finished_runs import UnusableRun, read_run
from utils.results import collect
from utils.run_folder import RunFolder
from utils.schemas.checking import checked
from utils.schemas.config import SeriesRecord
from utils.schemas.kinds import OTHER_COLUMNS
from utils.time_steps import check_time_step


def to_format_1(folder: Path) -> None:
    """Rewrite a run folder as format 1 had it: `targets`, or `test` and `naive`, and no flag roles."""
    metrics = json.loads((folder / "metrics.json").read_text()) | {"format": 1}
    tests = metrics.pop("tests")
    for test in tests.values():
        test.pop("measures")
    if metrics["task_name"] == "long_term_forecast":
        (metrics["test"],) = tests.values()
        metrics["naive"] = metrics["test"].pop("naive")
    else:
        metrics["targets"] = tests
    (folder / "metrics.json").write_text(json.dumps(metrics))
    config = json.loads((folder / "config.json").read_text()) | {"format": 1}
    config.pop("flag_roles", None)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_of_format_1_gives_the_same_tables(write_run, tmp_path):
    folders = [write_run(seed=0), write_run(seed=1, mse=0.5), write_run(model="DLinear", seed=0)]
    folders.append(write_run(task_name="zero_shot_forecast"))
    new = collect(tmp_path / "results")
    assert not new.skipped
    for folder in folders:
        to_format_1(folder)
    old = collect(tmp_path / "results")
    assert (old.tables, old.skipped) == (new.tables, {})


def test_scores_of_m4_in_format_1_are_read_with_their_measures(write_run):
    scores = {"smape": 13.4, "mase": 3.1, "owa": 0.9, "mse": 0.2, "mae": 0.3, "measures": []}
    folder = write_run(data="M4-Yearly", task_name="short_term_forecast", tests={"M4-Yearly": scores})
    to_format_1(folder)
    assert RunFolder(folder).read_metrics()["tests"]["M4-Yearly"]["measures"] == ["mse", "mae", "smape", "mase", "owa"]


TESTED = {"mse": 1.0, "mae": 1.0, "measures": ["mse", "mae"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"percent": "1"}, "metrics.json: percent: input should be a valid integer, not '1'"),
        ({"tests": {"ETTh1": {"mse": 1.0, "measures": []}}}, "metrics.json: tests/ETTh1/mae: field required"),
        ({"tests": {"ETTh1": TESTED | {"measures": []}}}, "metrics.json: tests/ETTh1/measures: list should have at"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["labels"]}}}, ".*/measures/0: 'labels' is no name of a measure"),
        ({"tests": {"ETTh1": TESTED | {"mse": -1.0}}}, "metrics.json: tests/ETTh1/mse: input should be greater"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["crps"]}}}, ".*crps is named as a measure and missing"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["crps"], "crps": 10**400}}}, ".*crps should be a finite number"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["crps"], "crps": None}}}, ".*crps should be a finite number"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["crps"], "crps": True}}}, ".*crps should be a finite number"),
        ({"tests": {"ETTh1": TESTED | {"measures": ["run_id_used"]}}}, ".*'run_id_used' is no name of a measure"),
        ({"tests": {"ETTh1": TESTED | {"cell": 5}}}, "metrics.json: tests/ETTh1/cell: input should be a valid dict"),
        (
            {"tests": {"ETTh1": TESTED | {"cell": {"data": [1]}}}},
            "metrics.json: tests/ETTh1/cell/data: input",
        ),
        ({"tests": {"ETTh1": TESTED | {"cell": {"pred_len": "x"}}}}, "metrics.json: tests/ETTh1/cell/pred_len: input"),
        ({"tests": {"ETTh1": TESTED | {"naive": {"A": {"name": 1.0}}}}}, ".*naive/A/name/.key.*is no name of a meas"),
        ({"tests": [1]}, r"metrics.json: tests: input should be a valid dictionary, not \[1\]"),
        ({"format": None}, "metrics.json has format None"),
        ({"format": 1, "targets": {"ETTh1": None}}, "metrics.json: tests/ETTh1: input should be a valid dictionary"),
    ],
)
def test_metrics_that_do_not_fit_are_named_with_the_place(write_run, changes, message):
    folder = write_run(**changes)
    with pytest.raises(UnusableRun, match=f"^{message}"):
        read_run(folder)
    with pytest.raises(DamagedFile, match=f"^{folder}/{message}"):
        RunFolder(folder).read_metrics()


def test_a_cell_says_data_and_lengths_and_nothing_else(write_run, tmp_path):
    cell = {"labels": ["x"], "percent": [1], "features": 5, "data": "ETTh2", "pred_len": 2}
    write_run(tests={"ETTh1": TESTED | {"cell": cell}})
    (row,) = collect(tmp_path / "results").rows.to_dict("records")
    assert (row["data"], row["pred_len"]) == ("ETTh2", 2)
    assert (row["labels"], row["percent"], row["features"]) == ("", 100, "M")


def test_no_measure_can_be_called_like_a_column_of_the_table(write_run, tmp_path):
    write_run()
    found = set(collect(tmp_path / "results").rows.columns)
    assert found - {"mse", "mae", "mse_original", "mae_original"} <= OTHER_COLUMNS


@pytest.mark.parametrize(
    "time_step",
    [
        "", "nonsense", "0D", "-1h", "9999999999999D", "99999999999999999999h", "ME@Mon 09:00-10:00",
        "h@Mon-Sun 09:00-08:00", "h@Xyz-Abc 09:00-10:00", f"MS+{'9' * 30}D", f"{'9' * 9}MS+3D",
        "ns@Mon 00:00-23:00", "h@Mon 20:00-30:00", "D@", "h@Mon-Fri-Sat 09:00-10:00", "h@Mon 09:00",
        "0min@Mon-Fri 09:30-16:00", "0s@Mon 00:00-01:00", "-1h@Mon 09:00-10:00", "0D@Mon", "D@Mon,Mon",
        "h@Mon 13:00-15:00,09:00-10:00", "h@Mon 09:00-10:00,09:00-10:00",
    ],
)  # fmt: skip
def test_an_impossible_time_step_is_refused_at_once(time_step):
    with pytest.raises(ValueError, match="is no time step"):
        check_time_step(time_step)
    with pytest.raises(DamagedFile, match=r"time_step: .* is no time step"):
        checked({"time_step": time_step}, SeriesRecord, "config.json")


@pytest.mark.parametrize(
    "time_step", ["h", "15min", "D", "7D", "W-TUE", "B", "MS", "3ME", "MS+14D", "YS", "D@Mon-Sat", "QS-OCT", "10ms"]
    + ["30min@Mon-Fri 09:30-16:00", "5min@Mon-Fri 09:30-11:30,13:00-15:00", "s@Mon-Sun 00:00-23:59:59"],
)  # fmt: skip
def test_a_time_step_of_a_table_is_none_of_these(time_step):
    check_time_step(time_step)


@pytest.mark.parametrize("task", [[], ["--task_name", "zero_shot_forecast", "--target_data", "demo"]])
def test_what_a_run_writes_fits_the_schema(tmp_path, task):
    assert run_here(flags(tmp_path, "--fast_dev_run", *task)) == 0
    run = read_run(run_folder(tmp_path))
    (name,) = run.tests
    assert name == ("table->demo" if task else "table")
    assert run.tests[name]["measures"] == ["mse", "mae"]
    assert set(run.tests[name]["naive"]) == {"LastValue", "SeasonalNaive"}
    assert run.labels == (("demo data", "fast_dev_run") if task else ("fast_dev_run",)) and len(run.history) == 1
