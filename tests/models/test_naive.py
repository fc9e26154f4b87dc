"""The two forecasters without parameters."""

from __future__ import annotations

import json
import logging

import pytest
import torch

import run
from models.base import ForecastSpec
from models.last_value import LastValue, LastValueConfig
from models.seasonal_naive import SeasonalNaive, SeasonalNaiveConfig


@pytest.fixture
def look_back() -> torch.Tensor:
    return torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(0))


def last_value(pred_len: int) -> LastValue:
    return LastValue.build(LastValueConfig(), ForecastSpec(seq_len=12, pred_len=pred_len, num_channels=2))


def seasonal_naive(*, pred_len: int, season_length: int, seq_len: int = 12) -> SeasonalNaive:
    shape = ForecastSpec(seq_len=seq_len, pred_len=pred_len, num_channels=2, season_length=season_length)
    return SeasonalNaive.build(SeasonalNaiveConfig(), shape)


def test_the_last_value_is_every_step_of_the_horizon(look_back):
    forecast = last_value(5)(look_back).values
    assert forecast.shape == (3, 5, 2)
    for step in range(5):
        torch.testing.assert_close(forecast[:, step], look_back[:, -1])


def test_each_seasonal_naive_step_is_the_value_a_whole_number_of_seasons_before(look_back):
    forecast = seasonal_naive(pred_len=10, season_length=4)(look_back).values
    whole = torch.cat([look_back, forecast], dim=1)
    torch.testing.assert_close(whole[:, 12:], whole[:, 8:18])


def test_a_sine_of_the_season_is_forecast_without_error():
    time = torch.arange(40, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * time / 6)[None, :, None].repeat(1, 1, 2).float()
    forecast = seasonal_naive(pred_len=28, season_length=6)(wave[:, :12]).values
    torch.testing.assert_close(forecast, wave[:, 12:], atol=1e-5, rtol=0)


def test_a_season_as_long_as_the_look_back_repeats_the_look_back(look_back):
    torch.testing.assert_close(seasonal_naive(pred_len=12, season_length=12)(look_back).values, look_back)


def test_a_look_back_shorter_than_a_season_gives_the_last_value_and_says_so(look_back, caplog):
    with caplog.at_level(logging.WARNING):
        model = seasonal_naive(pred_len=5, season_length=13)
    torch.testing.assert_close(model(look_back).values, last_value(5)(look_back).values)
    assert "--seq_len 12 is shorter than one season of 13" in caplog.text


def test_neither_naive_model_has_a_parameter_or_a_state():
    for model in (last_value(5), seasonal_naive(pred_len=5, season_length=4)):
        assert list(model.parameters()) == []
        assert model.saved_state() == {}
        assert model.inference_parameters() == 0


def test_a_model_without_parameters_runs_like_any_other_but_trains_nothing(tmp_path):
    sizes = ["--seq_len", "24", "--pred_len", "6", "--batch_size", "512", "--train_epochs", "5"]
    assert run.main(["--model", "SeasonalNaive", "--data", "demo", *sizes, "--output_dir", str(tmp_path)]) == 0
    (metrics_file,) = tmp_path.glob("SeasonalNaive_*/metrics.json")
    metrics = json.loads(metrics_file.read_text())
    assert (metrics["epochs"], metrics["steps"], metrics["parameters"]["trainable"]) == (1, 0, 0)
    (test,) = metrics["tests"].values()
    assert test["mse"] == test["naive"]["SeasonalNaive"]["mse"]
