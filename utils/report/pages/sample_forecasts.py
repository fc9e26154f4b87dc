"""The sample forecasts of a run as figures: look-back window, truth, forecast and its prediction interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from utils.intervals.conformal import Intervals
from utils.plotting import NAIVE_NAME, shown_interval, window_dates
from utils.report.finished_runs import Run, UnusableRun, read_arrays
from utils.report.pages.charts import BLUE, FAINT, GREY, ORANGE, PINK, Figure, Trace, figure, line
from utils.schemas.checking import checked
from utils.schemas.headers import ForecastHeader

MAX_CHANNELS = 8
# Numbers that a run's forecasts may bring into the page where --max_channels does not say how many: about 250 KB.
MAX_NUMBERS = 48_000


@dataclass(frozen=True)
class Shown:
    """How many forecasts of each run go into the page: `channels` by name, or at most `max_channels` of them."""

    max_channels: int | None = None
    max_windows: int = 4
    channels: tuple[str, ...] = ()


Interval = tuple[float, Float[np.ndarray, "channel pred_len"]]


def interval_of(run: Run) -> Interval | None:
    """Level and half widths, in original units, of the interval that is drawn; None where the run kept none."""
    series: Any = run.config.get("series")
    if series is None or not run.folder.intervals.is_file():
        return None
    intervals = Intervals.load(run.folder.intervals, run_id=run.metrics.get("run_id"))
    found = shown_interval(intervals.levels, intervals.bounds.numpy())
    if found is None or not {"scaler", "target_channels"} <= set(series):
        return None
    scale = np.asarray(series["scaler"]["scale"])[series["target_channels"]]
    if found[1].shape != (len(scale), run.metrics["pred_len"]):
        raise UnusableRun(f"{run.folder.intervals} has half widths {found[1].shape} of other channels or steps")
    return found[0], found[1] * scale[:, None]


def _place_among_intervals(run: Run, columns: list[str], channel: int) -> int:
    """Where the intervals of a channel are: a run keeps forecasts of some of its channels, but intervals of all."""
    series: Any = run.config.get("series", {})
    names = [series["columns"][place] for place in series["target_channels"]] if "columns" in series else []
    return names.index(columns[channel]) if columns[channel] in names else channel - len(columns)


def forecast_figures(run: Run, shown: Shown, interval: Interval | None, *, target: str = "") -> dict[str, Any] | None:
    """A figure for each window and channel, of a target of a zero-shot run; None where the run kept no forecasts."""
    path = run.folder.forecasts_on(target)
    if not path.is_file():
        return None
    arrays, header = read_arrays(path, run)
    checked(header, ForecastHeader, path)
    columns, dates, remarks = header["columns"], header["first_dates"], header.get("remarks", [])
    _check_shapes(arrays, run, windows=len(dates), channels=len(columns))
    windows = _chosen_windows(len(dates), remarks, shown)
    pred_len = arrays["target"].shape[1]
    num_past = min(arrays["look_back"].shape[1], max(2 * pred_len, 24))
    channels = _chosen_channels(columns, shown, numbers_each=len(windows) * (num_past + 4 * pred_len))
    figures = []
    for window in windows:
        times = window_dates(dates[window], header["time_step"], num_past=num_past, num_future=pred_len)
        times = times.to_numpy("datetime64[s]")
        past, truth, forecast = (arrays[name][window] for name in ("look_back", "target", "forecast"))
        figures.append([])
        for channel in channels:
            around = interval and (interval[0], interval[1][_place_among_intervals(run, columns, channel)])
            bounds = _bounds(arrays, header, window, channel, around)
            band = _band(times, *bounds) if bounds else []
            naive = arrays["naive"][window][:, channel] if "naive" in arrays else None
            traces = band + _lines(times, past[-num_past:, channel], truth[:, channel], forecast[:, channel], naive)
            figures[-1].append(_figure(traces, str(times[num_past]), str(times[-1])))
    num_tested = len(next(iter(run.tests.values())).get("per_channel", {}).get("columns", columns))
    return {
        "columns": [columns[channel] for channel in channels],
        "target": target,
        "dates": [
            f"{pd.Timestamp(dates[window]):%Y-%m-%d %H:%M}" + (f" ({remarks[window]})" if remarks else "")
            for window in windows
        ],
        "note": f"{len(channels)} of {num_tested} channels are in this page." if len(channels) < num_tested else "",
        "figures": figures,
    }


def _check_shapes(arrays: dict[str, np.ndarray], run: Run, *, windows: int, channels: int) -> None:
    """Check look-backs, truths and forecasts [window, step, channel]. Raises UnusableRun."""
    pred_len = run.metrics["pred_len"]
    lengths = {"look_back": None, "target": pred_len, "forecast": pred_len}
    lengths |= {name: pred_len for name in ("lower", "upper") if name in arrays}
    for name, length in lengths.items():
        shape = arrays[name].shape if name in arrays else ()
        fits = len(shape) == 3 and shape[::2] == (windows, channels) and shape[1] > 0 and length in (None, shape[1])
        if not fits:
            raise UnusableRun(f"{run.folder.forecasts}: {name} has shape {shape}, which does not fit the run")


def _lines(
    times: np.ndarray,
    past: Float[np.ndarray, "num_past"],
    truth: Float[np.ndarray, "pred_len"],
    forecast: Float[np.ndarray, "pred_len"],
    naive: Float[np.ndarray, "pred_len"] | None,
) -> list[Trace]:
    start = len(past)
    repeated = [] if naive is None else [line(NAIVE_NAME, naive, PINK, dash="dot", **_time_axis(times[start:]))]
    return [
        *repeated,
        line("look-back window", past, GREY, **_time_axis(times[:start])),
        # The truth goes on from the last value that the model saw.
        line("truth", np.concatenate([past[-1:], truth]), BLUE, **_time_axis(times[start - 1 :])),
        line("forecast", forecast, ORANGE, dash="dash", **_time_axis(times[start:])),
    ]


def _chosen_windows(count: int, remarks: Sequence[str], shown: Shown) -> list[int]:
    """The best, median and worst window, as far as `shown.max_windows` goes, and others spread evenly."""
    told = [place for place, remark in enumerate(remarks) if "windows" in remark][: shown.max_windows]
    spread = np.linspace(0, count - 1, min(shown.max_windows, count)).round().astype(int).tolist()
    others = [place for place in spread if place not in told]
    return sorted([*told, *others[: max(0, min(shown.max_windows, count) - len(told))]])


def _bounds(
    arrays: dict[str, np.ndarray],
    header: dict[str, Any],
    window: int,
    channel: int,
    around: tuple[float, Float[np.ndarray, "pred_len"]] | None,
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Level, lower and upper bound: quantiles that the run forecast, or else half widths `around` the forecast."""
    if {"lower", "upper"} <= set(arrays) and "level" in header:
        return header["level"], arrays["lower"][window][:, channel], arrays["upper"][window][:, channel]
    forecast = arrays["forecast"][window][:, channel]
    return (around[0], forecast - around[1], forecast + around[1]) if around else None


def _band(
    times: np.ndarray, level: float, lower: Float[np.ndarray, "pred_len"], upper: Float[np.ndarray, "pred_len"]
) -> list[Trace]:
    """The lower and the upper edge of the interval, with the area between them."""
    name = f"{100 * level:g} % prediction interval"
    edge = {"legendgroup": "interval", "line": {"width": 0}, **_time_axis(times[-len(lower) :])}
    fill = {"fill": "tonexty", "fillcolor": "rgba(213,94,0,0.2)", "hovertemplate": "%{y}, upper end"}
    return [
        line(name, lower, ORANGE, **edge, showlegend=False, hovertemplate="%{y}, lower end"),
        line(name, upper, ORANGE, **edge, **fill),
    ]


def _figure(traces: list[Trace], first: str, last: str) -> Figure:
    """The traces over dates, with a tint behind the horizon (`first` to `last`)."""
    tint = {"type": "rect", "yref": "paper", "x0": first, "x1": last, "y0": 0, "y1": 1}
    return figure(
        traces,
        height=360,
        x={"type": "date", "nticks": 5, "tickangle": 0},
        y={"title": {"text": "original units"}, "hoverformat": ".5g"},
        hovermode="x unified",
        shapes=[tint | {"fillcolor": FAINT, "line": {"width": 0}, "layer": "below"}],
    )


def _time_axis(times: np.ndarray) -> dict[str, Any]:
    """The times for plotly: the first one and the step in milliseconds, or all of them where steps differ (months)."""
    steps = np.unique(np.diff(times))
    if len(steps) == 1:
        return {"x0": str(times[0]), "dx": int(steps[0] / np.timedelta64(1, "ms"))}
    return {"x": times.astype(str).tolist()}


def _chosen_channels(columns: Sequence[str], shown: Shown, *, numbers_each: int) -> list[int]:
    if shown.channels:
        return [place for place, name in enumerate(columns) if name in shown.channels] or [len(columns) - 1]
    count = shown.max_channels or min(MAX_CHANNELS, max(1, MAX_NUMBERS // numbers_each))
    count = min(count, len(columns))
    # The last one is the target by the field's convention.
    return sorted(
        {len(columns) - 1, *np.linspace(0, len(columns) - 1, count)[: count - 1].round().astype(int).tolist()}
    )
