"""`--quantiles` goes one way: training, validation, test, zero-shot, naive forecasts, prediction, tables."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

import run
from data_provider.demo import DEMO_PATH
from exp.command_line import WrongInput, parse_command, run_command
from exp.exp_basic import run_id
from exp.predict.forecaster import load_forecaster
from models import MODELS, model_class
from models.base import ForecastSpec
from models.dlinear import DLinear, DLinearConfig
from models.nlinear import NLinear, NLinearConfig
from tests.exp.runs import PRED_LEN, SEQ_LEN, flags, run_folder
from utils.report.finished_runs import read_run
from utils.report.pages.sample_forecasts import Shown, forecast_figures
from utils.results import collect

QUANTILES = ["--quantiles", "0.1,0.5,0.9"]
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of DLinear with three quantiles."""
    folder = tmp_path_factory.mktemp("quantiles")
    assert run.main(flags(folder, *QUANTILES)) == 0
    return run_folder(folder)


def test_outputs_of_a_head_are_sorted_horizons_and_the_median_is_the_forecast():
    spec = ForecastSpec(seq_len=2, pred_len=2, num_channels=1, quantiles=LEVELS)
    model = NLinear.build(NLinearConfig(), spec)
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.copy_(torch.tensor([3.0, 1.0, 2.0, 2.0, 1.0, 3.0]))
    found = model(torch.tensor([[[5.0], [10.0]]]))
    assert found.quantiles is not None
    torch.testing.assert_close(found.quantiles[0, :, 0], torch.tensor([[11.0, 12.0, 13.0], [11.0, 12.0, 13.0]]))
    torch.testing.assert_close(found.values, found.quantiles[..., 1])


def test_a_head_has_an_output_for_each_quantile_and_none_more_without():
    specs = [ForecastSpec(seq_len=8, pred_len=4, num_channels=2, quantiles=levels) for levels in ((), LEVELS)]
    built = [DLinear.build(DLinearConfig(), spec) for spec in specs]
    assert [model.trend.weight.shape[0] for model in built] == [4, 12]
    assert built[0](torch.zeros(1, 8, 2)).quantiles is None


def test_the_run_id_names_the_quantiles_however_they_are_written(tmp_path):
    def named(*more: str) -> str:
        return run_id(parse_command(flags(tmp_path, *more)), data="x", fingerprint="y", determinants={})

    assert named() != named(*QUANTILES) == named("--quantiles", "0.9,.10,0.5")


def test_training_is_on_the_pinball_loss_and_chooses_the_epoch_by_it(trained):
    history = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert set(history[0]["train"]) == {"pinball", "loss"}
    assert set(history[0]["validation"]) == {"mse", "mae", "pinball", "crps"}
    metrics = json.loads((trained / "metrics.json").read_text())
    best = min(history, key=lambda epoch: epoch["validation"]["pinball"])
    assert metrics["validation"]["best_epoch"] == best["epoch"]


def test_the_test_has_both_measures_for_the_model_and_for_naive_forecasts(trained):
    (test,) = json.loads((trained / "metrics.json").read_text())["tests"].values()
    assert test["measures"] == ["mse", "mae", "pinball", "crps"]
    assert len(test["per_step"]["crps"]) == PRED_LEN and test["crps"] < test["mae"]
    for naive in test["naive"].values():
        assert naive["crps"] == pytest.approx(naive["mae"])
        assert naive["pinball"] == pytest.approx(naive["mae"] / 2)
    shares = test["below_quantile"]
    assert shares["0.1"] < shares["0.5"] < shares["0.9"] and len(shares["per_channel"]["0.1"]) == 2


def test_prediction_gives_the_quantiles_of_the_last_test_window(trained):
    table = pd.read_csv(trained.parent.parent / "table.csv")
    forecaster = load_forecaster(trained)
    found = forecaster.predict(table.iloc[:-PRED_LEN], interval=0.8)
    saved = load_file(trained / "forecasts.safetensors")
    last = int(saved["window"].argmax())
    for bound in ("lower", "upper"):
        expected = found[[f"A_{bound}", f"B_{bound}"]].to_numpy()
        np.testing.assert_allclose(saved[bound][last], expected, rtol=1e-5, atol=1e-6)
    assert found["A"].between(found["A_lower"], found["A_upper"]).all()
    half = forecaster.predict(table.iloc[:-PRED_LEN], interval=0.8, interval_method="conformal")
    np.testing.assert_allclose(half["A_upper"] - half["A"], half["A"] - half["A_lower"], rtol=1e-6)


def test_the_command_predicts_intervals_from_quantiles_and_says_what_they_held(trained, tmp_path, capsys):
    source = trained.parent.parent / "table.csv"
    command = ["--task_name", "predict", "--checkpoint", str(trained), "--data_path", str(source)]
    assert run.main([*command, "--output", str(tmp_path / "f.csv"), "--interval", "0.8", "--rolling"]) == 0
    (test,) = json.loads((trained / "metrics.json").read_text())["tests"].values()
    shares = test["below_quantile"]["per_channel"]
    held = 50 * sum(high - low for low, high in zip(shares["0.1"], shares["0.9"], strict=True))
    assert f"Intervals of level 0.8 held {held:.1f} %" in (tmp_path / "f.txt").read_text()
    assert run.main([*command, "--output", str(tmp_path / "g.csv"), "--interval", "0.9"]) == 2
    assert "choose 0.8, or --interval_method conformal" in capsys.readouterr().err


def test_the_page_draws_the_interval_of_the_quantiles(trained):
    found = forecast_figures(read_run(trained), Shown(max_windows=1, max_channels=1), None)
    assert found and "80 % prediction interval" in json.dumps(found["figures"])


def test_a_zero_shot_target_is_measured_alike(tmp_path):
    root = ["--root_path", str(DEMO_PATH.resolve().parents[1])]
    task = [*root, "--task_name", "zero_shot_forecast", "--target_data", "demo", "--train_epochs", "1"]
    list(run_command(flags(tmp_path, *task, *QUANTILES, "--fast_dev_run")))
    test = json.loads((run_folder(tmp_path) / "metrics.json").read_text())["tests"]["demo"]
    assert {"pinball", "crps", "below_quantile"} <= set(test)
    assert test["naive"]["LastValue"]["crps"] == pytest.approx(test["naive"]["LastValue"]["mae"])


def test_tables_show_the_measures_beside_a_model_that_has_none(trained):
    list(run_command(flags(trained.parent.parent)))
    results = collect(trained.parent)
    measured = results.rows.set_index(results.rows["name"].str.contains("quantiles=0.1,0.5,0.9"))["crps"]
    assert measured[True] > 0 and np.isnan(measured[False])
    accuracy = results.tables[0]
    shown = dict(zip(accuracy.columns, accuracy.rows[0][1], strict=True))
    assert not shown["SeasonalNaive", "CRPS"].missing and not shown["SeasonalNaive", "PINBALL"].missing


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--loss", "mse", *QUANTILES], "--loss mse trains no quantiles"),
        (["--loss", "pinball"], "--loss pinball is for quantiles"),
        (["--quantiles", "0.1,0.9"], "--quantiles needs 0.5"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_is_written(tmp_path, more, message):
    with pytest.raises(WrongInput, match=message):
        list(run_command(flags(tmp_path, *more)))
    assert not (tmp_path / "results").exists()


def test_a_model_that_forecasts_none_names_those_that_do(tmp_path):
    with pytest.raises(WrongInput, match=r"CALF forecasts no quantiles: .* BALM, .*DLinear"):
        list(run_command(flags(tmp_path, *QUANTILES, model="CALF")))


@pytest.mark.parametrize("model", ["PatchTST", "iTransformer", "PAttn", "BALM"])
def test_every_model_that_says_so_forecasts_ordered_quantiles(tmp_path, model):
    command = flags(tmp_path, *QUANTILES, "--fast_dev_run", model="BALM" if model == "BALM" else "DLinear")
    sizes = [] if model == "BALM" else ["--d_model", "8", "--n_heads", "2"]
    assert run.main(["--model", model, *sizes, *command[2:]]) == 0
    forecaster = load_forecaster(run_folder(tmp_path))
    found = forecaster.predict(pd.read_csv(tmp_path / "table.csv").iloc[-SEQ_LEN:], interval=0.8)
    assert found["B"].between(found["B_lower"], found["B_upper"]).all()


def test_the_models_that_forecast_quantiles_are_known():
    able = {name for name in MODELS if model_class(name).forecasts_quantiles}
    assert able == {"BALM", "DLinear", "NLinear", "PatchTST", "iTransformer", "PAttn", "GPT4TS"}
