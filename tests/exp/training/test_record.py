"""What a finished run leaves beside its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from exp.training import record
from tests.exp.runs import flags, run_folder, run_here, write_table
from utils.intervals.conformal import LEVELS
from utils.report.finished_runs import read_run
from utils.report.pages.sample_forecasts import interval_of


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of every forecast plot."""
    calls = []
    monkeypatch.setattr(record, "plot_forecast", lambda _, **options: calls.append(options))
    return calls


def test_the_90_percent_interval_of_a_run_is_in_its_plots_and_its_page_in_original_units(tmp_path, drawn):
    assert run_here(flags(tmp_path)) == 0
    run = read_run(run_folder(tmp_path))
    series: Any = run.config.get("series")
    scale = series["scaler"]["scale"]
    bounds = load_file(run.folder.intervals)["bounds"][LEVELS.index(0.9)]
    interval = interval_of(run)
    assert interval and interval[0] == 0.9 and len(drawn) == 3
    np.testing.assert_allclose(interval[1], bounds * np.array(scale)[:, None], rtol=1e-6)
    for options in drawn:
        for bound, sign in zip(options["interval"], (-1, 1), strict=True):
            np.testing.assert_allclose(bound, options["forecast"] + sign * interval[1].T, rtol=1e-6)
        assert options["interval_label"] == "90 % prediction interval"


def test_no_interval_is_drawn_for_zero_shot_targets(tmp_path, drawn):
    assert run_here(flags(tmp_path, "--task_name", "zero_shot_forecast", "--target_data", "demo")) == 0
    assert interval_of(read_run(run_folder(tmp_path))) is None
    assert drawn and all(options["interval"] is None for options in drawn)


def test_forecasts_for_a_zero_shot_target_are_dated_by_the_step_of_the_target(tmp_path, drawn):
    table = pd.read_csv(write_table(tmp_path / "table.csv"))
    table["date"] = pd.date_range("2024-01-01", periods=len(table), freq="15min")
    table.to_csv(tmp_path / "table.csv", index=False)
    assert run_here(flags(tmp_path, "--task_name", "zero_shot_forecast", "--target_data", "demo")) == 0
    assert drawn and all(options["time_step"] == "h" for options in drawn)
