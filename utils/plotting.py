"""Plots of a run as PNG: forecasts against truth, and training curves. Matplotlib's global state is not used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
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

from utils.files import replace_file
from utils.fonts import drawable
from utils.terminal import printable
from utils.time_steps import dates_after, dates_before

# The Okabe-Ito palette is safe for colour-blind readers; line styles differ too, for print in grey.
INK, MUTED, GRID = "#1b1f24", "#6b7280", "#e5e7eb"
HISTORY_COLOUR, TRUTH_COLOUR, FORECAST_COLOUR = "#8a8f98", "#0072b2", "#d55e00"
NAIVE_COLOUR, NAIVE_NAME = "#7a5195", "seasonal naive"
BEST_COLOUR = "#009e73"
MAX_CHANNELS = 4
SHOWN_LEVEL = 0.9
# Lower and upper bound of an interval, in original units.
Bounds = tuple[Float[np.ndarray, "pred_len channel"], Float[np.ndarray, "pred_len channel"]]


def plot_forecast(
    path: str | Path,
    *,
    look_back: Float[np.ndarray, "seq_len channel"],
    target: Float[np.ndarray, "pred_len channel"] | None,
    forecast: Float[np.ndarray, "pred_len channel"],
    columns: Sequence[str],
    title: str,
    naive: Float[np.ndarray, "pred_len channel"] | None = None,
    remark: str = "",
    interval: Bounds | None = None,
    interval_label: str = "interval",
    first_date: str | pd.Timestamp | None = None,
    time_step: str | None = None,
    label: str | None = None,
) -> Path:
    """Plot one window to a PNG, a panel per channel: the end of the look-back window, the truth and the forecast.

    Values are in original units. `first_date` is the date of the first forecast step and `time_step` a pandas offset;
    without them the x-axis counts steps from the start of the forecast. `label` ("demo data, random LLM") is written in
    the figure, so that the plot still says what it is outside its run folder. Of more than MAX_CHANNELS channels, a few
    are drawn, evenly spread, among them the first and the last (by convention the target). `target` is None if the
    future is not known yet; `interval` are the bounds of the prediction interval, if one is drawn, `naive` the
    seasonal naive forecast, and `remark` what is written of the window. Returns the path.
    """
    look_back, forecast = np.asarray(look_back), np.asarray(forecast)
    num_shown = min(len(columns), MAX_CHANNELS)
    channels: list[int] = np.linspace(0, len(columns) - 1, num_shown).round().astype(int).tolist()
    tail = look_back[-max(2 * len(forecast), 24) :]
    num_columns = 1 if num_shown == 1 else 2
    figure, axes = _panels(num_shown, num_columns, panel_size=(5.4 if num_columns == 2 else 9.0, 2.6))
    moments = np.arange(-len(tail), len(forecast))
    if first_date is not None:
        if time_step is None:
            raise ValueError("plot_forecast needs time_step (a pandas offset such as 'h') together with first_date")
        dates = window_dates(first_date, time_step, num_past=len(tail), num_future=len(forecast))
        moments = dates.to_pydatetime()
    for axis, channel in zip(axes, channels, strict=True):
        start, now = len(tail), tail[-1:, channel]
        joined = np.concatenate([now, forecast[:, channel]])
        axis.axvspan(moments[start - 1], moments[-1], color="#f3f4f6", zorder=0, linewidth=0)
        axis.plot(moments[:start], tail[:, channel], color=HISTORY_COLOUR, linewidth=1.2, label="look-back window")
        if target is not None:
            truth = np.concatenate([now, target[:, channel]])
            axis.plot(moments[start - 1 :], truth, color=TRUTH_COLOUR, linewidth=1.5, label="truth")
        if interval is not None:
            lower, upper = (np.concatenate([now, bound[:, channel]]) for bound in interval)
            band = axis.fill_between(moments[start - 1 :], lower, upper, color=FORECAST_COLOUR, alpha=0.18, linewidth=0)
            band.set_label(interval_label)
        if naive is not None:
            repeated = np.concatenate([now, naive[:, channel]])
            axis.plot(
                moments[start - 1 :], repeated, color=NAIVE_COLOUR, linewidth=1.1, linestyle=":", label=NAIVE_NAME
            )
        axis.plot(
            moments[start - 1 :],
            joined,
            color=FORECAST_COLOUR,
            linewidth=1.7,
            linestyle=(0, (5, 1.2)),
            label="forecast",
        )
        axis.margins(x=0.01)
        # A power of ten above the axis would push the title up, so only where the numbers need it.
        axis.ticklabel_format(axis="y", scilimits=(-4, 7))
        _panel_title(axis, columns[channel])
        _label_moments(axis, dated=first_date is not None)
    parts = ["original units", f"{num_shown} of {len(columns)} channels" if len(columns) > num_shown else "", remark]
    note = "; ".join(part for part in parts if part)
    return _finish(figure, axes[0], path, title=title, label=label, note=note, num_legend=5)


def plot_training_curves(
    path: str | Path,
    *,
    epochs: Sequence[dict[str, Any]],
    title: str,
    label: str | None = None,
    best_epoch: int | None = None,
    chance: Mapping[str, float] | None = None,
) -> Path:
    """Plot each loss term (training, and validation if there is one) and the learning rate to a PNG, a panel each.

    `epochs` are the entries of history.jsonl. The best epoch is marked, and so is the level of a loss that chance
    reaches (`chance`, by its name). Returns the path. Raises ValueError if there are none.
    """
    if not epochs:
        raise ValueError(f"{path}: there is no epoch to draw: history.jsonl is empty")
    curves = loss_curves(epochs)
    figure, axes = _panels(len(curves), min(3, len(curves)), panel_size=(3.6, 2.6))
    for axis, (name, lines) in zip(axes, curves.items(), strict=True):
        for part, (numbers, values) in lines.items():
            colour = {"validation": FORECAST_COLOUR}.get(part, TRUTH_COLOUR)
            style = (0, (5, 1.2)) if part == "validation" else "-"
            axis.plot(
                numbers, values, color=colour, linestyle=style, linewidth=1.5, marker="o", markersize=3, label=part
            )
        if best_epoch is not None:
            axis.axvline(best_epoch, color=BEST_COLOUR, linewidth=1, linestyle=":", zorder=0, label="best epoch")
        if chance and name in chance:
            axis.axhline(chance[name], color=MUTED, linewidth=1, linestyle="--", zorder=0)
            axis.annotate(
                f"chance {chance[name]:.2f}", (1, chance[name]), xycoords=("axes fraction", "data"), fontsize=7.5,
                color=MUTED, ha="right", va="bottom",
            )  # fmt: skip
        axis.set_xlim(0.5, max(len(epochs), 1) + 0.5)
        # One epoch, or few, would else be divided into fractions.
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        _panel_title(axis, name)
    fullest = max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[0]))
    return _finish(
        figure, fullest, path, title=title, label=label, note="by epoch; losses in scaled units", num_legend=3
    )


def loss_curves(epochs: Sequence[dict[str, Any]]) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Loss term -> "training" or "validation" -> (epochs, values); the learning rate comes last.

    The total `loss` is left out where it is the only training term under another name.
    """
    curves: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for entry in epochs:
        terms = {(name, "training"): value for name, value in entry.get("train", {}).items()}
        terms |= {(name, "validation"): value for name, value in entry.get("validation", {}).items()}
        for (name, part), value in terms.items():
            numbers, values = curves.setdefault(name, {}).setdefault(part, ([], []))
            numbers.append(int(entry["epoch"]))
            values.append(float(value))
    terms = {name: parts["training"] for name, parts in curves.items() if "training" in parts}
    if len(terms) == 2 and "loss" in terms and set(curves["loss"]) == {"training"}:
        del curves["loss"]
    rates = [(int(entry["epoch"]), float(entry["learning_rate"])) for entry in epochs if "learning_rate" in entry]
    if rates:
        curves["learning rate"] = {"training": ([number for number, _ in rates], [rate for _, rate in rates])}
    return curves


def shown_interval(
    levels: Sequence[float], bounds: Float[np.ndarray, "level channel pred_len"]
) -> tuple[float, Float[np.ndarray, "channel pred_len"]] | None:
    """Level and half widths of the widest interval up to 90 % that is finite for every channel, or None."""
    usable = [n for n, level in enumerate(levels) if level <= SHOWN_LEVEL and np.isfinite(bounds[n]).all()]
    if not usable:
        return None
    widest = max(usable, key=lambda n: levels[n])
    return levels[widest], bounds[widest]


def window_dates(first_date: str | pd.Timestamp, time_step: str, *, num_past: int, num_future: int) -> pd.DatetimeIndex:
    """The dates of a window; `first_date` is that of the first forecast step, `time_step` one of `time_steps`."""
    first: Any = pd.Timestamp(first_date)
    past = dates_before(first, time_step, num_past) if num_past else pd.DatetimeIndex([])
    return pd.DatetimeIndex([*past, first, *dates_after(first, time_step, num_future - 1)])


def _label_moments(axis: Axes, *, dated: bool) -> None:
    if dated:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axis.xaxis.get_offset_text().set(fontsize=8, color=MUTED)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.set_xlabel("time steps from the forecast's start", fontsize=8, color=MUTED)


def _panels(num_panels: int, num_columns: int, *, panel_size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with `num_panels` axes of `panel_size` inches."""
    num_rows = math.ceil(num_panels / num_columns)
    # The title, the label and the legend take a fixed height above the panels.
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
    # Column names come from files: a dollar sign in one must not start a formula.
    shown, font = drawable(text)
    axis.set_title(shown, loc="left", fontsize=9.5, color=INK, parse_math=False, **font)


def _finish(
    figure: Figure, legend_of: Axes, path: str | Path, *, title: str, label: str | None, note: str, num_legend: int
) -> Path:
    """Add title, note, label and legend, and save the figure."""
    width, height = figure.get_size_inches()
    left = 0.2 / width
    shown, font = drawable(title)
    figure.text(left, 1 - 0.32 / height, shown, fontsize=12.5, fontweight="bold", color=INK, parse_math=False, **font)
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
    path, content = Path(path), BytesIO()
    figure.savefig(content, format="png", metadata={"Title": printable(title), "Description": label or ""})
    # Written like any file of a run: no link is followed, and a folder that was removed is not made again.
    replace_file(path, content.getvalue())
    return path
