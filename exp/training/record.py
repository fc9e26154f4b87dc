"""Records of a finished run besides its metrics: sample forecasts, plots, diagnostics, tables for a tracker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_provider.loader import Loader
from data_provider.series import SeriesInfo
from exp.training.evaluation import forecast_batch, series_of_batch
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.checkpoint import save_checkpoint
from utils.conformal import Intervals
from utils.plotting import plot_forecast, plot_training_curves, shown_interval, window_dates
from utils.run_folder import RunFolder
from utils.tracking import Rows

NUM_SAMPLES = 8
NUM_SAMPLE_CHANNELS = 32
NUM_DIAGNOSED_ROWS = 256


def save_forecasts(
    folder: RunFolder, runtime: Runtime, model: Forecaster, loader: Loader, series: SeriesInfo
) -> dict[str, Any]:
    """Forecast a few windows, evenly spread over the split, and save them in original units.

    Returns the saved values and, as `interval`, level and half widths [channel, pred_len] of a prediction interval, or
    None if the run has none (zero-shot).
    """
    windows = loader.windows
    chosen = np.unique(np.linspace(0, windows.num_windows - 1, NUM_SAMPLES).astype(int)).tolist()
    channels = windows.target_channels[-NUM_SAMPLE_CHANNELS:]
    first = len(windows.target_channels) - len(channels)
    scale, mean = series.scaler.scale[channels], series.scaler.mean[channels]
    arrays: dict[str, list[np.ndarray]] = {"look_back": [], "target": [], "forecast": []}
    model.eval()
    for window in chosen:
        batch = loader.batch(windows.rows_of_windows([window]))
        values = forecast_batch(runtime, model, windows, batch)
        _, channel = series_of_batch(windows, batch)
        order = channel.flatten().argsort()[first:]
        look_back = windows.keep_targets(batch.look_back)
        for name, rows in (("look_back", look_back), ("target", batch.target), ("forecast", values)):
            by_channel = rows.transpose(1, 2).flatten(0, 1)[order].T.double().cpu().numpy()
            arrays[name].append(by_channel * scale + mean)
    tensors = {name: torch.from_numpy(np.stack(value)).contiguous() for name, value in arrays.items()}
    texts = {
        "columns": [series.columns[channel] for channel in channels],
        "first_dates": [pd.Timestamp(windows.target_dates(window).to_numpy()[0]).isoformat() for window in chosen],
    }
    header = {**texts, "time_step": series.time_step, "run_id": folder.path.name}
    save_checkpoint(folder.forecasts, {**tensors, "window": torch.tensor(chosen)}, header)
    interval = None
    if folder.intervals.is_file():
        found = Intervals.load(folder.intervals, run_id=folder.path.name)
        interval = shown_interval(found.levels, found.bounds[:, first:].numpy() * scale[:, None])
    return {**tensors, **texts, "time_step": series.time_step, "interval": interval}


def save_plots(
    folder: RunFolder, samples: dict[str, Any], *, history: list[dict[str, Any]], title: str, labels: list[str]
) -> None:
    """Plot the first, the middle and the last of the sample forecasts, and the training curves."""
    label = ", ".join(labels) or None
    level, half_width = samples["interval"] or (0.0, None)
    count = len(samples["first_dates"])
    for number in sorted({0, count // 2, count - 1}):
        plot_forecast(
            folder.plots / f"forecast_{number}.png",
            **{name: samples[name][number].numpy() for name in ("look_back", "target", "forecast")},
            columns=samples["columns"],
            half_width=None if half_width is None else half_width.T,
            half_width_label=f"{100 * level:g} % prediction interval",
            first_date=samples["first_dates"][number],
            time_step=samples["time_step"],
            title=title,
            label=label,
        )
    if history:
        plot_training_curves(folder.plots / "training.png", epochs=history, title=title, label=label)


@torch.no_grad()
def diagnostics(model: Forecaster, loader: Loader, runtime: Runtime) -> dict[str, Tensor]:
    """The model's diagnostics on rows spread evenly over the split; empty if it has none."""
    if type(model).diagnostics is Forecaster.diagnostics:
        return {}
    count = min(NUM_DIAGNOSED_ROWS, len(loader.windows))
    rows = torch.from_numpy(np.linspace(0, len(loader.windows) - 1, count).astype(np.int64))
    model.eval()
    batch = loader.batch(rows, with_features=False)
    with runtime.autocast():
        found = model.diagnostics(batch.look_back, **batch.inputs)
    return {name: value.float().cpu() for name, value in found.items()}


def tables_of(samples: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Rows]:
    """Tables for a tracker: the middle sample forecast, and the test errors by channel and by step."""
    by_channel, by_step = [], []
    for name, test in metrics["tests"].items():
        channels = _errors(test["per_channel"], test["measures"])
        columns = test["per_channel"]["columns"]
        by_channel += [{"data": name, "channel": c, **errors} for c, errors in zip(columns, channels, strict=True)]
        steps = _errors(test["per_step"], test["measures"])
        by_step += [{"data": name, "step": step, **errors} for step, errors in enumerate(steps, start=1)]
    number = len(samples["first_dates"]) // 2
    target, forecast = (samples[name][number].tolist() for name in ("target", "forecast"))
    dates = window_dates(samples["first_dates"][number], samples["time_step"], num_past=0, num_future=len(target))
    forecasts = [
        {"date": date.isoformat(), "channel": column, "target": target[step][index], "forecast": forecast[step][index]}
        for index, column in enumerate(samples["columns"])
        for step, date in enumerate(dates)
    ]
    return {"forecasts": forecasts, "error_by_channel": by_channel, "error_by_step": by_step}


def tracker_summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics for a tracker: under "test" the errors of the only test set, or those of several by name."""
    tests = metrics["tests"]
    shown = next(iter(tests.values())) if len(tests) == 1 else tests
    return {"test": shown, **{name: value for name, value in metrics.items() if name != "tests"}}


def _errors(values: dict[str, list[Any]], measures: list[str]) -> list[dict[str, float]]:
    """Lists of errors by measure as one dict per channel or step."""
    return pd.DataFrame({name: values[name] for name in measures if name in values}).to_dict("records")
