"""Time-LLM and TimeCMA through the whole command: what is kept of prompts changes nothing, and they can be used."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from exp.predict.forecaster import load_forecaster
from models.base import Forecaster
from models.time_cma import TimeCMA
from models.time_llm import TimeLLM
from tests.exp.runs import flags, result, run_folder, run_here

MODELS: dict[str, type[Forecaster]] = {"TimeLLM": TimeLLM, "TimeCMA": TimeCMA}


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_keeps_prompts_equals_one_that_keeps_none_and_forecasts_a_table(model, tmp_path, monkeypatch):
    assert run_here(flags(tmp_path, "--train_epochs", "2", model=model)) == 0
    folder = run_folder(tmp_path)
    monkeypatch.setattr(MODELS[model], "features_are_constant", False)
    assert run_here(flags(tmp_path, "--train_epochs", "2", model=model, output="unkept")) == 0
    kept, unkept = result(folder), result(run_folder(tmp_path, "unkept"))
    for name, error in kept["metrics"]["tests"]["table"].items():
        if isinstance(error, float):
            assert unkept["metrics"]["tests"]["table"][name] == pytest.approx(error, rel=1e-4), name
    forecaster = load_forecaster(folder)
    table = pd.read_csv(tmp_path / "table.csv", parse_dates=["date"])
    forecast: Any = forecaster.predict(table)
    assert len(forecast) == 24
    again = forecaster.predict(table.tail(120), rolling=True)
    last: Any = again.tail(24).reset_index(drop=True)[["A", "B"]]
    pd.testing.assert_frame_equal(last, forecast[["A", "B"]], atol=1e-4, rtol=1e-4)
