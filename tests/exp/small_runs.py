"""Small tables and the runs trained on them, for tests of what comes after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import run

SEQ_LEN, PRED_LEN = 24, 6
TINY_LLM = ["--llm_model", "random", "--llm_layers", "1", "--llm_width", "8", "--llm_heads", "2"]


def table(num_rows: int = 300, *, channels: int = 3, step: str = "h", start: str = "2024-01-01") -> pd.DataFrame:
    """Daily cycles of different sizes and levels, with noise, under `date` and `a`, `b`, `c`, ..."""
    generator = np.random.default_rng(0)
    time = np.arange(num_rows)
    data = {
        chr(ord("a") + number): 10.0**number * (np.sin(time / 24 * 2 * np.pi + number) + 3)
        + 0.1 * 10.0**number * generator.normal(size=num_rows)
        for number in range(channels)
    }
    return pd.DataFrame({"date": pd.date_range(start, periods=num_rows, freq=step), **data})


def train(path: Path, results: Path, *flags: str, model: str = "DLinear") -> Path:
    """Trains on the file at `path` by the command line and returns the run folder."""
    before = set(results.glob("*"))
    command = ["--model", model, "--data", "custom", "--data_path", str(path), "--output_dir", str(results)]
    sizes = {"--seq_len": SEQ_LEN, "--pred_len": PRED_LEN, "--train_epochs": 1, "--batch_size": 64}
    chosen = [word for name, value in sizes.items() if name not in flags for word in (name, str(value))]
    assert run.main([*command, *chosen, *flags]) == 0
    (folder,) = set(results.glob("*")) - before
    return folder


def predict(checkpoint: Path, data: Path, output: Path, *flags: str) -> int:
    """The exit code of the command that forecasts."""
    paths = ["--checkpoint", str(checkpoint), "--data_path", str(data), "--output", str(output)]
    return run.main(["--task_name", "predict", *paths, *flags])
