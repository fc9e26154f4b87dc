"""Kinds of models that Time-Series-Library has, as small stand-ins: tied weights, masks, devices, special settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import run
from exp.predict.forecaster import load_forecaster
from models import model_class
from models.base import ForecastSpec
from models.tslib import TSLib, TSLibConfig
from tests.exp.runs import write_table
from utils.checkpoint import load_checkpoint, save_checkpoint

SPEC = ForecastSpec(seq_len=8, pred_len=3, num_channels=2)
HEAD = (
    "import torch\nimport torch.nn as nn\nclass Model(nn.Module):\n"
    "    def __init__(self, configs):\n        super().__init__()\n"
)
FORWARD = "    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):\n"
KINDS = {
    # FEDformer, Koopa and MultiPatchFormer put one layer into several places.
    "Tied": (
        "        self.first = nn.Linear(configs.seq_len, configs.pred_len)\n        self.second = self.first\n"
        "        self.register_buffer('table', torch.arange(6.0))\n"
        "        self.register_buffer('part', self.table[2:4])\n",
        "        return (self.first(x_enc.mT) + self.second(x_enc.mT)).mT + self.part.sum()\n",
    ),
    # TemporalFusionTransformer.
    "Masked": (
        "        size = configs.seq_len\n"
        "        self.register_buffer('mask', torch.triu(torch.full((size, size), float('-inf')), 1))\n"
        "        self.last = nn.Linear(size, configs.pred_len)\n",
        "        return self.last((torch.softmax(self.mask, -1) @ x_enc).mT).mT\n",
    ),
    # WPMixer.
    "Placed": (
        "        assert configs.device.type in ('cpu', 'cuda') and configs.batch_size and not configs.use_amp\n"
        "        self.device = configs.device\n        self.last = nn.Linear(configs.seq_len, configs.pred_len)\n",
        "        return self.last((x_enc + torch.zeros(1, device=self.device)).mT).mT\n",
    ),
    "MICN": (
        "        self.pred_len, self.marks = configs.pred_len, nn.Linear(4, configs.enc_in)\n",
        "        padded = nn.functional.pad(x_enc, (0, 0, 0, self.pred_len))\n"
        "        return (padded + self.marks(x_mark_dec))[:, -self.pred_len:]\n",
    ),
    "TimeMixer": (
        "        self.configs, self.last = configs, nn.Linear(configs.seq_len, configs.pred_len)\n",
        "        scales = [x_enc] if self.configs.down_sampling_method == 'avg' else x_enc\n"
        "        for x in scales:\n            rows, time, channels = x.size()\n"
        "        return self.last(x_enc.mT).mT\n",
    ),
    "KANAD": ("", "        raise NotImplementedError('Forecasting is not\\nsupported')\n"),
    "Short": ("        self.last = nn.Linear(1, 1)\n", "        return x_enc[:, :1]\n"),
    "Nothing": ("        self.last = nn.Linear(1, 1)\n", "        return None\n"),
    "Table": ("        self.known = {'ETTh1': 7}[configs.data]\n", "        return x_enc\n"),
    # TimeXer with features=MS: the last channel is forecast, the others are read.
    "Exogenous": (
        "        assert configs.features == 'MS' and configs.enc_in == 3\n"
        "        self.last, self.seen = nn.Linear(configs.seq_len, configs.pred_len), None\n",
        "        self.seen = x_enc\n        return self.last(x_enc[:, :, -1:].mT).mT\n",
    ),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "Time-Series-Library"
    (root / "models").mkdir(parents=True)
    for name, (constructor, forward) in KINDS.items():
        (root / "models" / f"{name}.py").write_text(HEAD + constructor + FORWARD + forward)
    return root


def build(checkout: Path, name: str, words: str = "", spec: ForecastSpec = SPEC) -> TSLib:
    chosen = model_class(f"tslib:{name}")
    assert issubclass(chosen, TSLib)
    return chosen.build(TSLibConfig(tslib_path=str(checkout), tslib_args=words), spec)


def train(checkout: Path, name: str, *more: str) -> Path:
    """The folder of a short run on a table of two channels, A and B."""
    results = checkout.parent / "results"
    words = [
        "--tslib_path",
        str(checkout),
        "--data",
        "custom",
        "--data_path",
        str(write_table(checkout.parent / "my.csv")),
    ]
    sizes = ["--seq_len", "24", "--pred_len", "6", "--batch_size", "64", "--train_epochs", "2", "--device", "cpu"]
    assert run.main(["--model", f"tslib:{name}", *words, *sizes, "--output_dir", str(results), *more]) == 0
    (folder,) = results.iterdir()
    return folder


@pytest.mark.parametrize("name", ["Tied", "Masked", "Placed"])
def test_it_is_trained_saved_and_forecast_with(checkout, name):
    folder = train(checkout, name)
    table = pd.read_csv(checkout.parent / "my.csv")
    forecast = load_forecaster(folder, device="cpu", tslib_path=str(checkout)).predict(table)
    assert len(forecast) == 6 and bool(forecast[["A", "B"]].notna().to_numpy().all())


def test_tied_weights_are_saved_under_each_name_and_stay_tied(checkout):
    model, other = build(checkout, "Tied"), build(checkout, "Tied")
    path = checkout.parent / "file.safetensors"
    save_checkpoint(path, model.saved_state(), {})
    state, _ = load_checkpoint(path)
    assert torch.equal(state["model.first.weight"], state["model.second.weight"])
    assert state["model.part"].tolist() == [2.0, 3.0]
    other.load_saved_state(state)
    inner: Any = other.model
    assert inner.first is inner.second
    assert torch.equal(inner.first.weight, state["model.first.weight"])


def test_a_trial_leaves_no_trace(checkout):
    torch.manual_seed(0)
    built = build(checkout, "Masked")
    drawn = torch.rand(3)
    torch.manual_seed(0)
    torch.nn.Linear(8, 3)
    assert torch.equal(torch.rand(3), drawn)
    assert built.training


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("MICN", "label_len=4", 'add "label_len=8" to --tslib_args'),
        (
            "TimeMixer",
            "",
            'add "down_sampling_layers=1 down_sampling_window=2 down_sampling_method=avg" to --tslib_args',
        ),
        (
            "TimeMixer",
            "down_sampling_layers=2",
            'add "down_sampling_window=2 down_sampling_method=avg" to --tslib_args',
        ),
        ("KANAD", "", r"does not forecast .*Forecasting is not supported\): choose another model"),
        ("Short", "", r"shape \[2, 1, 2\] instead of \[2, 3, 2\]"),
        ("Nothing", "", "it returns NoneType instead of a forecast"),
        ("Table", "", "cannot be built from --tslib_args and sizes: KeyError: ''"),
        ("Placed", "device=cpu", "--tslib_args must leave device out"),
    ],
)
def test_what_cannot_forecast_with_these_settings_says_so_before_training(checkout, name, words, message):
    with pytest.raises(ValueError, match=message) as refusal:
        build(checkout, name, words)
    assert "\n" not in str(refusal.value)


def test_a_setting_that_a_model_is_known_to_need_is_named(checkout):
    sizes = ForecastSpec(seq_len=60, pred_len=3, num_channels=2)
    with pytest.raises(ValueError, match=r'add "label_len=60" to --tslib_args$'):
        build(checkout, "MICN", spec=sizes)
    assert build(checkout, "MICN", "label_len=60", spec=sizes).label_len == 60
    with pytest.raises(ValueError, match=r'add "down_sampling_layers=1'):
        build(checkout, "TimeMixer", spec=sizes)
    build(checkout, "TimeMixer", "down_sampling_layers=1 down_sampling_window=2 down_sampling_method=avg", spec=sizes)


def test_with_features_ms_the_target_is_the_last_channel_and_the_last_output_its_forecast(checkout):
    spec = ForecastSpec(seq_len=8, pred_len=3, num_channels=3, target_channel=1)
    model, look_back = build(checkout, "Exogenous", spec=spec).eval(), torch.randn(2, 8, 3)
    values = model(look_back, time_features=torch.zeros(2, 11, 4)).values
    inner: Any = model.model
    assert torch.equal(inner.seen, look_back[..., [0, 2, 1]])
    expected = inner.last(look_back[..., 1])
    torch.testing.assert_close(values[..., 1], expected)
    assert values.shape == (2, 3, 3)


def test_a_run_with_features_ms_reaches_the_model_and_forecasts_the_target(checkout):
    table = pd.read_csv(write_table(checkout.parent / "three.csv"))
    table.insert(1, "first", table["A"] * 2)
    table.to_csv(checkout.parent / "three.csv", index=False)
    folder = train(
        checkout, "Exogenous", "--data_path", str(checkout.parent / "three.csv"), "--features", "MS", "--target", "A"
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["backbone_fingerprint"]["features"] == "MS"
    forecast = load_forecaster(folder, device="cpu", tslib_path=str(checkout)).predict(table)
    assert list(forecast.columns) == ["date", "A"]
