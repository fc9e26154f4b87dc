"""Labels follow from facts, and naive forecasts are of the windows that the model was tested on."""

from __future__ import annotations

import json

import pytest

import run
from exp.command_line import parse_command
from exp.exp_long_term_forecast import LongTermForecast
from models.dlinear import DLinear
from models.last_value import LastValue
from models.seasonal_naive import SeasonalNaive
from tests.exp.runs import flags, run_folder


@pytest.mark.parametrize(
    ("said_by_backbone", "is_control", "label"),
    [
        ({"name": "/models/my-gpt2", "random": True}, False, ["random LLM"]),
        ({"name": "random-walk-gpt", "random": False}, False, []),
        ({"name": "/models/my-gpt2", "random": True}, True, []),
        ({}, False, []),
    ],
)
def test_a_random_llm_is_told_by_what_its_backbone_says_of_the_weights(
    tmp_path, monkeypatch, said_by_backbone, is_control, label
):
    """A named LLM whose weights are random as a control is a result, which tables name by that flag."""
    monkeypatch.setattr(DLinear, "fingerprint", lambda _: said_by_backbone)
    monkeypatch.setattr(DLinear, "random_llm_is_a_control", is_control)
    assert LongTermForecast(parse_command(flags(tmp_path)))._labels() == label


@pytest.mark.parametrize("channel_independent", [False, True])
@pytest.mark.parametrize("model", [LastValue, SeasonalNaive])
def test_naive_errors_of_a_trial_run_are_of_its_windows(tmp_path, monkeypatch, model, channel_independent):
    monkeypatch.setattr(model, "channel_independent", channel_independent)
    command = flags(tmp_path, "--fast_dev_run", "--eval_batch_size", "6")
    assert run.main(["--model", model.__name__, *command[2:]]) == 0
    (test,) = json.loads((run_folder(tmp_path) / "metrics.json").read_text())["tests"].values()
    assert test["num_rows"] == (12 if channel_independent else 24)
    assert test["naive"][model.__name__] == pytest.approx({name: test[name] for name in ("mse", "mae")})
