"""What the report page shows of a run, as small JSON values: curves, forecasts, errors by step and channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from utils.finished_runs import Run, UnusableRun, read_arrays
from utils.plotting import loss_curves
from utils.report.alignment import alignment_summary
from utils.report.quantities import bytes_text, count_text, figures_text

MAX_BARS = 40


@dataclass(frozen=True)
class Shown:
    """How much of each run goes into the page: `channels` by name, or else at most `max_channels` of them."""

    max_channels: int = 8
    max_windows: int = 4
    channels: tuple[str, ...] = ()


def run_entry(run: Run, name: str, shown: Shown) -> dict[str, Any]:
    """One run for the page; what cannot be read is named under "problems" instead of being shown."""
    metrics, problems = run.metrics, []
    entry: dict[str, Any] = {
        "title": f"{name}, {run.data}, {metrics['seq_len']} to {metrics['pred_len']} steps, seed {metrics['seed']}"
        + (f", {metrics['percent']} %" if metrics["percent"] != 100 else "")
        + (f" ({', '.join(run.labels)})" if run.labels else ""),
        "name": name,
        "cell": "|".join(str(metrics.get(key)) for key in ("task_name", "features", "seq_len", "pred_len", "percent"))
        + f"|{run.data}|{bool(run.labels)}",
        "seed": metrics["seed"],
        "labels": ", ".join(run.labels),
        "facts": _facts(run),
        "curves": {
            term: {part: [epochs, _rounded(values)] for part, (epochs, values) in parts.items()}
            for term, parts in loss_curves(run.history).items()
        },
        "tests": {data: _test_entry(test) for data, test in run.tests.items()},
    }
    readers = {"forecasts": lambda: _forecasts(run, shown), "alignment": lambda: _alignment(run)}
    for part, read in readers.items():
        try:
            entry[part] = read()
        except (UnusableRun, KeyError, IndexError, ValueError) as error:
            entry[part] = None
            problems.append(f"{part} ({error})")
    return entry | {"problems": problems}


def _facts(run: Run) -> list[list[str]]:
    metrics = run.metrics
    facts = [["run folder", run.folder.path.name]]
    for data, test in run.tests.items():
        facts.append([f"test MSE / MAE, {data}", f"{test['mse']:.4f} / {test['mae']:.4f}"])
        if "mae_original" in test:
            facts.append(["MAE, original units", figures_text(test["mae_original"])])
        naive = test.get("naive", {}).items()
        facts += [[f"MSE of {name}", f"{errors['mse']:.4f}"] for name, errors in naive if "mse" in errors]
    validation, parameters = metrics.get("validation") or {}, metrics.get("parameters") or {}
    if validation.get("best_epoch") is not None:
        facts.append(["best epoch", f"{validation['best_epoch']} of {metrics.get('epochs', '?')}"])
    if parameters.get("total"):
        share = 100 * parameters["trainable"] / parameters["total"]
        counts = f"{count_text(parameters['trainable'])} of {count_text(parameters['total'])} ({figures_text(share)} %)"
        facts.append(["parameters trained", counts])
    for title, value in (
        ("training", (metrics.get("seconds") or {}).get("training")),
        ("step", metrics.get("seconds_per_step")),
    ):
        if value is not None:
            facts.append([title, f"{figures_text(value)} s"])
    memory = metrics.get("peak_memory_bytes") or {}
    facts.append(["peak memory", bytes_text(memory.get("device") or memory.get("host") or 0)])
    facts.append(["machine", f"{metrics.get('device_name') or metrics.get('device')}, {metrics.get('precision')}"])
    return [[title, str(value)] for title, value in facts]


def _test_entry(test: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if test.get("per_step"):
        entry["per_step"] = {name: _rounded(values) for name, values in test["per_step"].items()}
    channels = test.get("per_channel")
    if channels:
        # The worst channels are the ones worth seeing when not all fit.
        order = np.argsort(np.negative(channels["mse"]), kind="stable")[:MAX_BARS]
        names = [name for name in ("mse", "mae_original") if name in channels]
        by_channel: dict[str, Any] = {name: _rounded(np.asarray(channels[name])[order]) for name in names}
        by_channel["columns"] = [str(channels["columns"][place]) for place in order]
        if len(channels["columns"]) > MAX_BARS:
            by_channel["note"] = f"The {MAX_BARS} worst of {len(channels['columns'])} channels."
        entry["per_channel"] = by_channel
    return entry


def _forecasts(run: Run, shown: Shown) -> dict[str, Any] | None:
    if not run.folder.forecasts.is_file():
        return None
    arrays, header = read_arrays(run.folder.forecasts)
    columns, dates = json.loads(header["columns"]), json.loads(header["first_dates"])
    channels = _chosen_channels(columns, shown)
    samples = np.unique(np.linspace(0, len(dates) - 1, min(shown.max_windows, len(dates))).round().astype(int))
    num_tested = len(next(iter(run.tests.values())).get("per_channel", {}).get("columns", columns))
    note = f"{len(channels)} of {num_tested} channels are in this page." if len(channels) < num_tested else ""
    return {
        "columns": [columns[channel] for channel in channels],
        "note": note,
        "samples": [_sample(arrays, int(place), channels, dates, header["time_step"]) for place in samples],
    }


def _sample(
    arrays: dict[str, np.ndarray], place: int, channels: Sequence[int], dates: Sequence[str], time_step: str
) -> dict[str, Any]:
    look_back, target, forecast = (arrays[name][place] for name in ("look_back", "target", "forecast"))
    num_past = min(len(look_back), max(2 * len(target), 24))
    truth = np.concatenate([look_back[-num_past:], target])
    sample: dict[str, Any] = {"num_past": num_past, "num_steps": len(truth)}
    sample["truth"] = [_rounded(truth[:, channel]) for channel in channels]
    sample["forecast"] = [_rounded(forecast[:, channel]) for channel in channels]
    times = _milliseconds(dates[place], time_step, num_past, len(target))
    steps = np.unique(np.diff(times))
    if len(steps) == 1:
        return sample | {"first_time": int(times[0]), "time_step": int(steps[0])}
    return sample | {"times": times.tolist()}


def _milliseconds(first_date: str, time_step: str, num_past: int, num_future: int) -> np.ndarray:
    offset = pd.tseries.frequencies.to_offset(time_step)
    first = pd.Timestamp(first_date).tz_localize(None)
    past = pd.date_range(end=first, periods=num_past + 1, freq=offset)[:-1]
    future = pd.date_range(start=first, periods=num_future, freq=offset)
    return np.asarray(past.append(future), dtype="datetime64[ms]").astype(np.int64)


def _chosen_channels(columns: Sequence[str], shown: Shown) -> list[int]:
    if shown.channels:
        return [place for place, name in enumerate(columns) if name in shown.channels] or [len(columns) - 1]
    count = min(shown.max_channels, len(columns))
    return sorted(set(np.linspace(0, len(columns) - 1, count).round().astype(int).tolist()))


def _alignment(run: Run) -> dict[str, Any] | None:
    if not run.folder.alignment.is_file():
        return None
    return alignment_summary(read_arrays(run.folder.alignment)[0])


def _rounded(values: Sequence[float] | np.ndarray) -> list[float | None]:
    """Five significant digits, which is more than a screen shows; None for what is not finite."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=float)]
