"""Pictures of a run: forecasts against truth, and training curves. No global state of matplotlib is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# From the Okabe-Ito palette, which colour-blind readers can tell apart; line styles differ as well, for print in grey.
INK, MUTED, GRID = "#1b1f24", "#6b7280", "#e5e7eb"
HISTORY_COLOUR, TRUTH_COLOUR, FORECAST_COLOUR = "#8a8f98", "#0072b2", "#d55e00"
SHOWN_LEVEL = 0.9


def plot_forecast(
    path: str | Path,
    *,
    look_back: Float[np.ndarray, "seq_len channel"],
    target: Float[np.ndarray, "pred_len channel"] | None,
    forecast: Float[np.ndarray, "pred_len channel"],
    columns: Sequence[str],
    title: str,
    half_width: Float[np.ndarray, "pred_len channel"] | None = None,
    half_width_label: str = "interval",
    first_date: str | pd.Timestamp | None = None,
    time_step: str | None = None,
    label: str | None = None,
    unit: str = "original units",
    max_channels: int = 4,
) -> Path:
    """Writes a PNG of one window, a panel per channel: the end of the look-back window, the truth and the forecast.

    `first_date` is the date of the first target step and `time_step` a pandas offset string; without them the x-axis
    counts time steps from the forecast's start. `label` ("demo data, random LLM") is printed in the figure, so that a
    picture that leaves its folder still says what it is. At most `max_channels` channels are drawn, the last one (the
    target by the field's convention) always among them. `target` is None for a future that nobody knows yet;
    `half_width` is that of a prediction interval around the forecast. Returns the path.
    """
    look_back, forecast = np.asarray(look_back), np.asarray(forecast)
    channels = _shown_channels(len(columns), max_channels)
    tail = look_back[-min(len(look_back), max(2 * len(forecast), 24)) :]
    num_columns = 1 if len(channels) == 1 else 2
    num_rows = math.ceil(len(channels) / num_columns)
    figure, axes = _panels(len(channels), num_rows, num_columns, panel_size=(5.4 if num_columns == 2 else 9.0, 2.6))
    steps = np.arange(-len(tail), len(forecast))
    moments = _moments(steps, first_date, time_step)
    for axis, channel in zip(axes, channels, strict=True):
        start, now = len(tail), tail[-1:, channel]
        joined = np.concatenate([now, forecast[:, channel]])
        axis.axvspan(moments[start - 1], moments[-1], color="#f3f4f6", zorder=0, linewidth=0)
        axis.plot(moments[:start], tail[:, channel], color=HISTORY_COLOUR, linewidth=1.2, label="look-back window")
        if target is not None:
            truth = np.concatenate([now, target[:, channel]])
            axis.plot(moments[start - 1 :], truth, color=TRUTH_COLOUR, linewidth=1.5, label="truth")
        if half_width is not None:
            reach = np.concatenate([[0.0], half_width[:, channel]])
            band = axis.fill_between(
                moments[start - 1 :], joined - reach, joined + reach, color=FORECAST_COLOUR, alpha=0.18, linewidth=0
            )
            band.set_label(half_width_label)
        axis.plot(
            moments[start - 1 :],
            joined,
            color=FORECAST_COLOUR,
            linewidth=1.7,
            linestyle=(0, (5, 1.2)),
            label="forecast",
        )
        axis.margins(x=0.01)
        _panel_title(axis, columns[channel])
        _label_moments(axis, dated=first_date is not None)
    if len(columns) > len(channels):
        unit = f"{unit}; {len(channels)} of {len(columns)} channels"
    return _finish(figure, axes[0], path, title=title, label=label, note=unit, num_legend=4)


def plot_training_curves(
    path: str | Path, *, epochs: Sequence[dict[str, Any]], title: str, label: str | None = None
) -> Path:
    """Writes a PNG with one panel per loss term (training and, where there is one, validation) and the learning rate.

    `epochs` are the entries of a run's history.jsonl. Returns the path; ValueError if there is no epoch.
    """
    if not epochs:
        raise ValueError(f"{path}: there is no epoch to draw: history.jsonl is empty")
    curves = loss_curves(epochs)
    num_columns = min(3, len(curves))
    num_rows = math.ceil(len(curves) / num_columns)
    figure, axes = _panels(len(curves), num_rows, num_columns, panel_size=(3.6, 2.6))
    for axis, (name, lines) in zip(axes, curves.items(), strict=True):
        for part, (numbers, values) in lines.items():
            colour = {"validation": FORECAST_COLOUR}.get(part, TRUTH_COLOUR)
            style = (0, (5, 1.2)) if part == "validation" else "-"
            axis.plot(
                numbers, values, color=colour, linestyle=style, linewidth=1.5, marker="o", markersize=3, label=part
            )
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _panel_title(axis, name)
    fullest = max(axes, key=lambda axis: len(axis.lines))
    return _finish(
        figure, fullest, path, title=title, label=label, note="by epoch; losses in scaled units", num_legend=2
    )


def loss_curves(epochs: Sequence[dict[str, Any]]) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Loss term -> "training" or "validation" -> (epochs, values), from history.jsonl entries; learning rate last."""
    curves: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for entry in epochs:
        terms = {(name, "training"): value for name, value in entry.get("train", {}).items()}
        terms |= {(name, "validation"): value for name, value in entry.get("validation", {}).items()}
        for (name, part), value in terms.items():
            numbers, values = curves.setdefault(name, {}).setdefault(part, ([], []))
            numbers.append(int(entry["epoch"]))
            values.append(float(value))
    rates = [(int(entry["epoch"]), float(entry["learning_rate"])) for entry in epochs if "learning_rate" in entry]
    if rates:
        curves["learning rate"] = {"training": ([number for number, _ in rates], [rate for _, rate in rates])}
    return curves


def shown_interval(
    levels: Sequence[float], bounds: Float[np.ndarray, "level channel pred_len"]
) -> tuple[float, Float[np.ndarray, "channel pred_len"]] | None:
    """The widest prediction interval of at most 90 % that every channel has: its level and half widths."""
    usable = [n for n, level in enumerate(levels) if level <= SHOWN_LEVEL and np.isfinite(bounds[n]).all()]
    if not usable:
        return None
    widest = max(usable, key=lambda n: levels[n])
    return levels[widest], bounds[widest]


def _shown_channels(num_channels: int, max_channels: int) -> list[int]:
    if num_channels <= max_channels:
        return list(range(num_channels))
    return sorted({*np.linspace(0, num_channels - 1, max_channels).round().astype(int).tolist()})


def _moments(steps: np.ndarray, first_date: str | pd.Timestamp | None, time_step: str | None) -> np.ndarray:
    if first_date is None:
        return steps
    if time_step is None:
        raise ValueError("plot_forecast needs time_step (a pandas offset such as 'h') together with first_date")
    first = pd.Timestamp(first_date)
    offset = pd.tseries.frequencies.to_offset(time_step)
    # Counted out from the first target step: calendar offsets (month starts) have no fixed length to multiply with.
    before = pd.date_range(end=first, periods=int((steps < 0).sum()) + 1, freq=offset)[:-1]
    after = pd.date_range(start=first, periods=int((steps >= 0).sum()), freq=offset)
    return pd.DatetimeIndex(before.append(after)).to_pydatetime()


def _label_moments(axis: Axes, *, dated: bool) -> None:
    if dated:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axis.xaxis.get_offset_text().set(fontsize=8, color=MUTED)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.set_xlabel("time steps from the forecast's start", fontsize=8, color=MUTED)


def _panels(
    num_panels: int, num_rows: int, num_columns: int, *, panel_size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    # The title, the label and the legend take fixed inches above the panels, whatever their number.
    size = (max(panel_size[0] * num_columns, 6.4), panel_size[1] * num_rows + 0.9)
    figure = Figure(figsize=size, dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=0.62 / size[0],
        right=1 - 0.25 / size[0],
        bottom=0.45 / size[1],
        top=1 - 1.25 / size[1],
        hspace=0.5,
        wspace=0.24,
    )
    axes = [figure.add_subplot(num_rows, num_columns, number + 1) for number in range(num_panels)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(MUTED)
        axis.tick_params(colors=MUTED, labelsize=8)
        axis.grid(axis="y", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes


def _panel_title(axis: Axes, text: str) -> None:
    # Column names come from a CSV: a dollar sign in one must not start a formula.
    axis.set_title(text, loc="left", fontsize=9.5, color=INK, parse_math=False)


def _finish(
    figure: Figure, legend_of: Axes, path: str | Path, *, title: str, label: str | None, note: str, num_legend: int
) -> Path:
    width, height = figure.get_size_inches()
    left = 0.2 / width
    figure.text(left, 1 - 0.32 / height, title, fontsize=12.5, fontweight="bold", color=INK, parse_math=False)
    figure.text(left, 1 - 0.56 / height, note, fontsize=8.5, color=MUTED, parse_math=False)
    if label:
        figure.text(
            1 - 0.25 / width,
            1 - 0.56 / height,
            label,
            fontsize=9,
            color="#7a3e00",
            ha="right",
            parse_math=False,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "#fdebd0", "edgecolor": "#e0a458", "linewidth": 0.8},
        )
    handles, names = legend_of.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(left - 0.03 / width, 1 - 0.6 / height),
        ncols=num_legend,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=2.6,
        borderaxespad=0.1,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Title": title, "Description": label or ""})
    return path
