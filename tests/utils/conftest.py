"""Small run folders written by hand, in the format of a real run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from utils.checkpoint import save_checkpoint
from utils.report.format_1 import FLAG_ROLES
from utils.run_folder import FORMAT

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes one run folder under tmp_path/results and returns it: `write_run(model="DLinear", seed=0, mse=0.4)`."""

    def write(**changes: Any) -> Path:
        return write_run_folder(tmp_path / "results", **changes)

    return write


def write_run_folder(
    results: Path,
    *,
    model: str = "BALM",
    data: str = "ETTh1",
    seq_len: int = 512,
    pred_len: int = 4,
    percent: int = 100,
    seed: int = 2021,
    mse: float = 0.4,
    labels: tuple[str, ...] = (),
    columns: tuple[str, ...] = ("HUFL", "OT"),
    num_windows: int = 200,
    model_config: dict[str, Any] | None = None,
    command: tuple[str, ...] = (),
    alignment: bool = False,
    interval_levels: tuple[float, ...] = (),
    window_errors: np.ndarray | None = None,
    **metrics: Any,
) -> Path:
    """A finished run; further keyword arguments replace entries of metrics.json."""
    flags = "-".join(f"{value}" for value in (model_config or {}).values())
    run_id = f"{model}-{data}-{seq_len}-{pred_len}-{percent}-{seed}-{flags}-{len(labels)}"
    folder = results / run_id
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    written = {
        "format": FORMAT, "run_id": run_id, "model": model, "task_name": "long_term_forecast", "data": data,
        "features": "M", "seq_len": seq_len, "pred_len": pred_len, "percent": percent, "seed": seed,
        "tests": {data: tested(mse, columns, pred_len, num_windows)},
        "validation": {"mse": mse * 1.1, "mae": mse, "best_epoch": 2},
        "epochs": 3, "steps": 30, "seconds": {"training": 12.0, "test": 1.0, "total": 14.0},
        "rows_per_second": 1000.0, "seconds_per_step": 0.4,
        "peak_memory_bytes": {"host": 2**30, "device": 0},
        "parameters": {"total": 82_882_657, "trainable": 970_081, "inference": 82_882_656},
        "device": "cpu", "device_name": "a CPU", "precision": "fp32", "num_processes": 1, "labels": list(labels),
    } | metrics  # fmt: skip
    config = {
        "format": FORMAT,
        "data_config": {"data": data, "seq_len": seq_len, "pred_len": pred_len, "data_path": None},
        "model_config": model_config or {},
        "train_config": {"seed": seed, "learning_rate": 0.001},
        "command": ["run.py", "--model", model, *command],
        "series": {
            "scaler": {"mean": [10.0] * len(columns), "scale": [2.0 + number for number in range(len(columns))]},
            "target_channels": list(range(len(columns))),
        },
        "git_revision": "abc",
        "versions": {"python": "3.12", "torch": "2.13"},
    }
    history = [
        {
            "epoch": epoch,
            "train": {"loss": 2 / epoch, "mse": 1 / epoch, "alignment": 1 / epoch},
            "validation": {"mse": mse + 0.3 / epoch, "mae": mse + 0.1 / epoch},
            "learning_rate": 0.001 / epoch, "seconds": 4.0, "rows_per_second": 1000.0,
        }
        for epoch in (1, 2, 3)
    ]  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(written))
    # As a run writes it: every flag that has a role says so.
    (folder / "config.json").write_text(json.dumps({"flag_roles": FLAG_ROLES, **config}))
    (folder / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in history))
    if window_errors is None:
        window_errors = generator.gamma(4, mse / 4, size=num_windows)
        window_errors *= mse / window_errors.mean()
    errors = np.asarray(window_errors, dtype=np.float32)
    save_file({"mse": errors, "mae": np.sqrt(errors)}, folder / "window_errors.safetensors")
    write_forecasts(folder, columns, min(seq_len, 24), pred_len, generator)
    if alignment:
        write_alignment(folder, generator)
    if interval_levels:
        write_intervals(folder, interval_levels, num_channels=len(columns), pred_len=pred_len)
    return folder


def tested(mse: float, columns: tuple[str, ...], pred_len: int, num_windows: int) -> dict[str, Any]:
    """An entry of `tests` in metrics.json."""
    channel = [mse * (1 + number / 4) for number in range(len(columns))]
    step = [mse * (0.7 + 0.6 * number / pred_len) for number in range(pred_len)]
    return {
        "mse": mse, "mae": mse * 0.9, "mse_original": mse * 40, "mae_original": mse * 5,
        "num_windows": num_windows, "num_rows": num_windows * len(columns),
        "per_channel": {
            "columns": list(columns), "mse": channel, "mae": channel,
            "mse_original": channel, "mae_original": channel,
        },
        "per_step": {"mse": step, "mae": step, "mae_original": step}, "measures": ["mse", "mae"],
        "naive": {"LastValue": {"mse": 1.3, "mae": 0.8}, "SeasonalNaive": {"mse": 0.6, "mae": 0.5}},
    }  # fmt: skip


def write_forecasts(
    folder: Path, columns: tuple[str, ...], seq_len: int, pred_len: int, generator: np.random.Generator
) -> None:
    """Three windows of noisy daily waves."""
    time = np.arange(seq_len + pred_len)
    waves = np.stack([np.sin(2 * np.pi * (time + 5 * place) / 24) for place in range(len(columns))], axis=1)
    series = (10 + 3 * waves + generator.normal(0, 0.3, (3, *waves.shape))).astype(np.float32)
    target = series[:, seq_len:]
    dates = pd.date_range("2018-02-20 00:00", periods=3, freq="30D")
    save_file(
        {
            "look_back": np.ascontiguousarray(series[:, :seq_len]),
            "target": np.ascontiguousarray(target),
            "forecast": (target + generator.normal(0, 0.4, target.shape)).astype(np.float32),
            "window": np.array([0, 700, 1400]),
        },
        folder / "forecasts.safetensors",
        metadata={
            "columns": json.dumps(columns),
            "first_dates": json.dumps([date.isoformat() for date in dates]),
            "time_step": "h",
        },
    )


def write_intervals(folder: Path, levels: tuple[float, ...], *, num_channels: int, pred_len: int) -> None:
    """Half widths in scaled units that are their level, of every channel and step; infinite for levels above 0.9."""
    bounds = np.stack([np.full((num_channels, pred_len), level if level <= 0.9 else np.inf) for level in levels])
    (folder / "checkpoint").mkdir()
    header = {"levels": levels, "num_errors": 20, "unit": "scaled units"}
    save_checkpoint(folder / "checkpoint" / "intervals.safetensors", {"bounds": torch.from_numpy(bounds)}, header)


def write_alignment(folder: Path, generator: np.random.Generator, num_rows: int = 24, width: int = 8) -> None:
    """Two branches that do not know each other before training, and that do after it."""
    arrays: dict[str, np.ndarray] = {}
    for stage, shared in (("before", 0.0), ("after", 0.9)):
        common = generator.normal(size=(num_rows, width))
        time = shared * common + generator.normal(size=(num_rows, width)) * 0.5
        text = 30 * (shared * common + generator.normal(size=(num_rows, width)) * 0.5 + 0.5)
        for name, values in {"time": time, "text": text, "text_scaled": text / 30}.items():
            arrays[f"{stage}/{name}_mean"] = values
            arrays[f"{stage}/{name}_norm"] = np.linalg.norm(values, axis=1)
            arrays[f"{stage}/{name}_std"] = values.std(axis=1)
    save_file({name: values.astype(np.float32) for name, values in arrays.items()}, folder / "alignment.safetensors")
