"""Records of a finished run besides its metrics: sample forecasts, plots, diagnostics, tables for a tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from data_provider.batches.loader import Loader
from data_provider.series import SeriesInfo
from exp.training.evaluation import forecast_batch, series_of_batch
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.checkpoint import save_checkpoint
from utils.intervals.conformal import Intervals
from utils.intervals.quantiles import interval_levels
from utils.plotting import SHOWN_LEVEL, plot_forecast, plot_training_curves, shown_interval, window_dates
from utils.run_folder import RunFolder
from utils.tracking.config import Rows

NUM_SAMPLES = 8
NUM_SAMPLE_CHANNELS = 32
NUM_DIAGNOSED_ROWS = 256


@dataclass(frozen=True)
class Samples:
    """Forecasts of a few windows in original units, as `save_forecasts` keeps them.

    `tensors` are look_back, target, forecast and naive [window, time, channel], and lower and upper if there is a
    prediction interval of `level`: that of the forecast's quantiles, or else of the validation errors (none for a
    zero-shot test). `remarks` say of each window how its error stands among all. `drawn` are the places of the windows
    that are plotted, by name.
    """

    target: str
    tensors: dict[str, Tensor]
    columns: list[str]
    first_dates: list[str]
    time_step: str
    remarks: list[str]
    drawn: dict[str, int]
    level: float | None


def save_forecasts(
    folder: RunFolder,
    runtime: Runtime,
    model: Forecaster,
    loader: Loader,
    series: SeriesInfo,
    *,
    target: str,
    naive: Forecaster,
    errors: Float[Tensor, "window"],
) -> Samples:
    """Forecast a few windows and save them: some spread evenly over the split, and the best, median and worst.

    `errors` is the MSE of each window (0: not tested), `naive` the forecast to compare with, and `target` the data set
    of a zero-shot test.
    """
    windows = loader.windows
    if not len(errors):
        errors = torch.zeros(windows.num_windows)
    possible = windows.complete_windows
    errors = torch.where((torch.arange(len(errors)) >= possible.start), errors, 0)
    drawn = _windows_by_error(errors, first=possible.start)
    spread = np.linspace(possible.start, possible.stop - 1, NUM_SAMPLES).astype(int).tolist()
    chosen = sorted({*spread, *drawn.values()})
    channels = windows.sample_channels[-NUM_SAMPLE_CHANNELS:]
    positions = [windows.target_channels.index(channel) for channel in channels]
    scale, mean = series.scaler.scale[channels], series.scaler.mean[channels]
    arrays: dict[str, list[np.ndarray]] = {}
    level, places = _widest_shown(model)
    model.eval()
    for window in chosen:
        batch = loader.batch(windows.rows_of_windows([window]))
        values, quantiles = forecast_batch(runtime, model, windows, batch)
        shown = {"target": batch.target, "forecast": values, "look_back": windows.keep_targets(batch.look_back)}
        shown["naive"] = windows.keep_targets(naive(batch.look_back).values)
        if level is not None and quantiles is not None:
            shown |= dict(zip(("lower", "upper"), quantiles[..., places].unbind(-1), strict=True))
        _, channel = series_of_batch(windows, batch)
        found = channel.flatten().tolist()
        order = [found.index(position) for position in positions]
        for name, rows in shown.items():
            by_channel = rows.transpose(1, 2).flatten(0, 1)[order].T.cpu().double().numpy()
            arrays.setdefault(name, []).append(by_channel * scale + mean)
    tensors = {name: torch.from_numpy(np.stack(value)).contiguous() for name, value in arrays.items()}
    if level is None and not target:
        level, half_width = _interval(folder, positions, scale) or (None, None)
        if half_width is not None:
            reach = torch.from_numpy(half_width.T)
            tensors |= {"lower": tensors["forecast"] - reach, "upper": tensors["forecast"] + reach}
    dates = [pd.Timestamp(windows.target_dates(window).to_numpy()[0]).isoformat() for window in chosen]
    samples = Samples(
        target=target,
        tensors=tensors,
        columns=[series.columns[channel] for channel in channels],
        first_dates=dates,
        time_step=series.time_step,
        remarks=[_remark(window, errors, drawn) for window in chosen],
        drawn={name: chosen.index(window) for name, window in drawn.items()},
        level=level,
    )
    texts = {name: getattr(samples, name) for name in ("columns", "first_dates", "time_step", "remarks")}
    header = {**texts, "run_id": folder.path.name, **({"level": level} if places else {})}
    # The half widths of other intervals have a file of their own.
    kept = {name: tensor for name, tensor in tensors.items() if places or name not in ("lower", "upper")}
    save_checkpoint(folder.forecasts_on(target), {**kept, "window": torch.tensor(chosen)}, header)
    return samples


def _widest_shown(model: Forecaster) -> tuple[float | None, list[int]]:
    """Level, and places of both quantiles, of the widest interval up to 90 % that the model's quantiles bound."""
    found = {level: ends for level, ends in interval_levels(model.quantiles).items() if level <= SHOWN_LEVEL}
    return (max(found), list(found[max(found)])) if found else (None, [])


def _windows_by_error(errors: Float[Tensor, "window"], *, first: int) -> dict[str, int]:
    """The windows with the lowest, the median and the highest error among those that were tested."""
    tested = torch.nonzero(errors > 0).flatten()
    if not len(tested):
        return {"first": first}
    order = tested[errors[tested].argsort(stable=True)]
    return {"best": int(order[0]), "median": int(order[(len(order) - 1) // 2]), "worst": int(order[-1])}


def _remark(window: int, errors: Float[Tensor, "window"], drawn: dict[str, int]) -> str:
    """The window's error and how it stands among all: "MSE 0.381 in scaled units, the median of 2,785 windows"."""
    if not errors[window] > 0:
        return ""
    stands = [name for name, place in drawn.items() if place == window]
    among = f", the {' and '.join(stands)} of {int((errors > 0).sum()):,} windows" if stands else ""
    return f"MSE {float(errors[window]):.3g} in scaled units{among}"


def _interval(folder: RunFolder, positions: list[int], scale: np.ndarray) -> tuple[float, np.ndarray] | None:
    if not folder.intervals.is_file():
        return None
    found = Intervals.load(folder.intervals, run_id=folder.path.name)
    return shown_interval(found.levels, found.bounds[:, positions].numpy() * scale[:, None])


def plot_samples(folder: RunFolder, samples: Samples, *, title: str, labels: list[str]) -> None:
    """Plot the best, the median and the worst window."""
    has_interval = samples.level is not None
    for name, number in samples.drawn.items():
        place = f"{samples.target}_{name}" if samples.target else name
        bounds = {key: samples.tensors[key][number].numpy() for key in ("lower", "upper") if has_interval}
        plot_forecast(
            folder.plots / f"forecast_{place}.png",
            **{key: samples.tensors[key][number].numpy() for key in ("look_back", "target", "forecast", "naive")},
            columns=samples.columns,
            interval=(bounds["lower"], bounds["upper"]) if has_interval else None,
            interval_label=f"{100 * (samples.level or 0):g} % prediction interval",
            first_date=samples.first_dates[number],
            time_step=samples.time_step,
            title=title,
            remark=samples.remarks[number],
            label=", ".join(labels) or None,
        )


def plot_training(
    folder: RunFolder, history: list[dict[str, Any]], *, title: str, labels: list[str], best_epoch: int,
    chance: dict[str, float],
) -> None:  # fmt: skip
    """Plot the training curves, if anything was trained."""
    if history:
        plot_training_curves(
            folder.plots / "training.png", epochs=history, title=title, label=", ".join(labels) or None,
            best_epoch=best_epoch, chance=chance,
        )  # fmt: skip


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


def tables_of_errors(metrics: dict[str, Any]) -> dict[str, Rows]:
    """Tables for a tracker: the test errors by channel and by step."""
    by_channel, by_step = [], []
    for name, test in metrics["tests"].items():
        channels = _errors(test["per_channel"], test["measures"])
        columns = test["per_channel"]["columns"]
        by_channel += [{"data": name, "channel": c, **errors} for c, errors in zip(columns, channels, strict=True)]
        steps = _errors(test["per_step"], test["measures"])
        by_step += [{"data": name, "step": step, **errors} for step, errors in enumerate(steps, start=1)]
    return {"error_by_channel": by_channel, "error_by_step": by_step}


def rows_of_forecast(samples: Samples) -> Rows:
    """The middle sample forecast as a table for a tracker."""
    number = len(samples.first_dates) // 2
    target, forecast = (samples.tensors[name][number].tolist() for name in ("target", "forecast"))
    dates = window_dates(samples.first_dates[number], samples.time_step, num_past=0, num_future=len(target))
    return [
        {"date": date.isoformat(), "channel": column, "target": target[step][index], "forecast": forecast[step][index]}
        for index, column in enumerate(samples.columns)
        for step, date in enumerate(dates)
    ]


def tracker_summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics for a tracker: under "test" the errors of the only test set, or those of several by name."""
    tests = metrics["tests"]
    shown = next(iter(tests.values())) if len(tests) == 1 else tests
    return {"test": shown, **{name: value for name, value in metrics.items() if name != "tests"}}


def _errors(values: dict[str, list[Any]], measures: list[str]) -> list[dict[str, float]]:
    """Lists of errors by measure as one dict per channel or step."""
    return pd.DataFrame({name: values[name] for name in measures if name in values}).to_dict("records")
