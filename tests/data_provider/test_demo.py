"""The demo set is what its generator makes, and a forecaster can learn something from it."""

from pathlib import Path

import numpy as np
import pandas as pd

from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from data_provider.datasets import DATASETS
from data_provider.demo import DEMO_PATH, demo_table, main, synthetic_table, write_csv

ROOT = Path(__file__).resolve().parents[2]


def test_the_file_is_what_the_generator_makes(tmp_path: Path):
    write_csv(demo_table(), tmp_path / "demo.csv")
    assert (tmp_path / "demo.csv").read_text() == (ROOT / DEMO_PATH).read_text()
    assert (ROOT / DEMO_PATH).stat().st_size < 400_000


def test_it_loads_by_name_and_says_that_it_is_synthetic():
    series = load_series(DataConfig(root_path=str(ROOT / "dataset")))
    assert series.is_demo
    assert series.columns[-1] == "OT"
    assert series.values.shape == (DATASETS["demo"].num_rows, DATASETS["demo"].num_channels)
    assert any("synthetic" in note for note in series.notes)


def test_a_linear_forecast_beats_repeating_yesterday_clearly():
    config = DataConfig(root_path=str(ROOT / "dataset"), seq_len=96, pred_len=24)
    series = load_series(config)
    arrays = {}
    for split in ("train", "test"):
        windows = series.windows(split, config=config, channel_independent=True)
        batch = windows[range(len(windows))]
        look_back, target = batch.look_back[..., 0].numpy(), batch.target[..., 0].numpy()
        mean = look_back.mean(axis=1, keepdims=True)
        arrays[split] = (look_back - mean, target - mean)
    inputs, targets = arrays["train"]
    weights = np.linalg.solve(inputs.T @ inputs + 10 * np.eye(96), inputs.T @ targets)
    inputs, targets = arrays["test"]
    learnt = ((inputs @ weights - targets) ** 2).mean()
    yesterday = ((inputs[:, -24:] - targets) ** 2).mean()
    last_value = ((inputs[:, -1:] - targets) ** 2).mean()
    assert learnt < 0.75 * yesterday < 0.75 * last_value


def test_every_later_channel_follows_the_one_before_with_a_lag():
    values = synthetic_table(20_000, columns=["a", "b", "OT"], seed=1)[["a", "b"]].to_numpy()
    changes = values[24:] - values[:-24]
    correlation = [np.corrcoef(changes[:-lag, 0], changes[lag:, 1])[0, 1] for lag in (2, 12)]
    assert correlation[0] > correlation[1] + 0.05


def test_another_shape_is_written_where_asked(tmp_path: Path, monkeypatch, capsys):
    path = tmp_path / "wide.csv"
    monkeypatch.setattr("sys.argv", ["demo", "--shape", "50x12", "--output", str(path)])
    main()
    table = pd.read_csv(path)
    assert table.shape == (50, 13)
    assert table.columns[-1] == "OT"
    assert "synthetic" in capsys.readouterr().out
