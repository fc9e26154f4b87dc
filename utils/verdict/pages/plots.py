"""Pictures of the verdict as SVG, the same bytes wherever they are drawn: forest plot, cost, learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from utils.plotting import BEST_COLOUR, FORECAST_COLOUR, GRID, HISTORY_COLOUR, INK, MUTED, TRUTH_COLOUR
from utils.report.pages.charts import COLOURS
from utils.verdict.collection import Collected, Frame
from utils.verdict.comparisons import VERDICTS, Comparison
from utils.verdict.pages.seconds import seconds_of
from utils.verdict.plan import ARMS, NONE, SEEDS, cell_text

# Machines agree on numbers to about twelve digits, and so on these.
DIGITS = 4
VERDICT_COLOURS = dict(zip(VERDICTS, (TRUTH_COLOUR, FORECAST_COLOUR, BEST_COLOUR, HISTORY_COLOUR), strict=True))
MARKS = dict(zip(VERDICTS, ("o", "s", "D", "o"), strict=True))
# Whatever a reader's matplotlibrc says.
STYLE = style.context(["default", {"svg.hashsalt": "verdict", "svg.fonttype": "none", "font.size": 8}])
INCH_A_LINE = 0.17
# From the top of a figure to the lower end of its legend, which stands below the title.
LEGEND_INCHES = 0.5
# The forest plot's axis is linear up to here, and logarithmic beyond.
LINEAR_PERCENT = 10
PERCENT_TICKS = (-50, -10, -5, 0, 5, 10, 50)
WIDE_TICKS = (-10000, -1000, -100, -10, 0, 10, 100, 1000, 10000)
# What is further above the lowest error of a panel is named in its corner: it would hide the other differences.
HIGHEST = 1.3
ARM_STYLES = {arm: (COLOURS[place % len(COLOURS)], ("-", "--", ":")[place // 4]) for place, arm in enumerate(ARMS)}
ARM_MARKS = {arm: ("o", "s", "^")[place // 4] for place, arm in enumerate(ARMS)}


@STYLE
def forest(found: Sequence[Comparison], *, title: str) -> bytes:
    """Differences in percent with 95 % intervals: a column for each control, a line for each cell and arm.

    Without the comparisons that are not complete or not tested; empty if there are no others.
    """
    shown = [each for each in found if each.found is not None and each.found.is_tested and each.control]
    lines: list[tuple[str, str]] = []
    for cell in dict.fromkeys(each.cell for each in shown):
        arms = dict.fromkeys(each.arm for each in shown if each.cell == cell)
        lines += [(cell, ""), *((cell, arm) for arm in arms)]
    if not lines:
        return b""
    height = INCH_A_LINE * len(lines) + 1.05
    figure = Figure(figsize=(9, height))
    for place, control in enumerate((NONE, "random")):
        axis = figure.add_axes((0.22 + 0.395 * place, 0.5 / height, 0.365, 1 - 1.05 / height))
        _forest_panel(axis, [each for each in shown if each.control == control], lines)
        _labels(axis, x=f"MSE against {control}, % (left is better)")
        axis.set_yticks(range(len(lines)), [arm if place == 0 else "" for _, arm in lines])
        axis.tick_params(axis="y", length=0)
    for line, (cell, arm) in enumerate(lines):
        if not arm:
            name = cell_text(cell, with_rate=True)
            figure.axes[0].annotate(
                name, (0, line), (-138, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontweight="bold", bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
    _legend(figure, [(word, VERDICT_COLOURS[word], MARKS[word], "") for word in VERDICTS], title)
    return _svg(figure)


def _forest_panel(axis: Axes, found: Sequence[Comparison], lines: Sequence[tuple[str, str]]) -> None:
    for each in found:
        assert each.found is not None
        place, scale = lines.index((each.cell, each.arm)), 100 / each.found.reference
        low, middle, high = (_rounded(value * scale) for value in (each.found.low, each.found.mean, each.found.high))
        colour = VERDICT_COLOURS[each.verdict]
        axis.plot([low, high], [place, place], color=colour, linewidth=1.4)
        axis.plot([middle], [place], color=colour, marker=MARKS[each.verdict], markersize=4)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    # One arm may be ten times worse where the others differ by a few percent.
    axis.set_xscale("symlog", linthresh=LINEAR_PERCENT, linscale=1.2)
    low, high = (round(limit) for limit in axis.get_xlim()) if found else (-LINEAR_PERCENT, LINEAR_PERCENT)
    low, high = min(low, -5), max(high, 5)
    axis.set_xlim(low, high)
    ticks = [tick for tick in (WIDE_TICKS if max(-low, high) > 100 else PERCENT_TICKS) if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=7)
    axis.xaxis.set_minor_formatter(NullFormatter())


@STYLE
def cost(collected: Collected, cells: Sequence[str], *, title: str) -> bytes:
    """Test MSE against the seconds of training and testing, a panel for each cell: means over the seeds."""
    panels = [(cell, _costs(collected, cell)) for cell in cells]
    panels = [(cell, points) for cell, points in panels if len(points)]
    if not panels:
        return b""
    figure, axes = _panels(len(panels))
    for axis, (cell, points) in zip(axes, panels, strict=True):
        shown = _near_ones(axis, {arm: mean for arm, (_, mean, _) in points.items()})
        for arm in shown:
            seconds, mean, spread = points[arm]
            colour, mark = ARM_STYLES[arm][0], ARM_MARKS[arm]
            axis.errorbar([seconds], [mean], [spread], color=colour, marker=mark, markersize=6, capsize=2, linewidth=1)
        axis.set_title(cell_text(cell, with_rate=True), loc="left", fontsize=8.5)
        axis.set_xscale("log")
        low, high = (choose(points[arm][0] for arm in shown) for choose in (min, max))
        ticks = [n * 10.0**e for e in range(-2, 6) for n in (1, 2, 5) if low / 1.5 <= n * 10.0**e <= high * 1.5]
        axis.set_xlim(low / 1.5, high * 1.5)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.xaxis.set_minor_formatter(NullFormatter())
        _labels(axis, x="seconds of training and testing", y="test MSE")
    _legend(figure, [(arm, ARM_STYLES[arm][0], ARM_MARKS[arm], "") for arm in ARMS], title)
    return _svg(figure)


@STYLE
def curves(collected: Collected, cells: Sequence[str], *, title: str) -> bytes:
    """Validation MSE by epoch of each arm, a panel for each cell: the mean of the seeds and their standard deviation.

    A line ends with the last epoch that all its seeds reached.
    """
    panels = [(cell, {arm: _curve(collected, cell, arm) for arm in ARMS}) for cell in cells]
    panels = [(cell, lines) for cell, lines in panels if any(line.size for line in lines.values())]
    if not panels:
        return b""
    figure, axes = _panels(len(panels))
    for axis, (cell, lines) in zip(axes, panels, strict=True):
        lowest = {arm: float(line.mean(axis=0).min()) for arm, line in lines.items() if line.size}
        for arm in _near_ones(axis, lowest):
            line, (colour, dash) = lines[arm], ARM_STYLES[arm]
            epochs, means, spreads = np.arange(1, line.shape[1] + 1), line.mean(axis=0), line.std(axis=0)
            axis.plot(epochs, _rounded(means), color=colour, linestyle=dash, linewidth=1.3)
            axis.fill_between(
                epochs, _rounded(means - spreads), _rounded(means + spreads), color=colour, alpha=0.12, linewidth=0
            )
        axis.set_title(cell_text(cell, with_rate=True), loc="left", fontsize=8.5)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        _labels(axis, x="epoch", y="validation MSE")
    _legend(figure, [(arm, ARM_STYLES[arm][0], "", ARM_STYLES[arm][1]) for arm in ARMS], title)
    return _svg(figure)


def _curve(collected: Collected, cell: str, arm: str) -> np.ndarray:
    """Validation MSE, [seed, epoch]."""
    runs = collected.of(cell, [arm])
    entries: Frame = collected.curves[collected.curves["run_id"].isin(runs["run_id"])]
    by_seed = [group.sort_values("epoch")["validation_mse"].to_numpy(float) for _, group in entries.groupby("run_id")]
    length = min(map(len, by_seed), default=0)
    return np.array([line[:length] for line in by_seed])


def _costs(collected: Collected, cell: str) -> dict[str, tuple[float, float, float]]:
    """Arm -> seconds, mean MSE and its standard deviation, of the arms with all their seeds."""
    found = {}
    for arm in ARMS:
        runs = collected.of(cell, [arm])
        if len(runs) >= len(SEEDS):
            numbers = (seconds_of(runs), float(runs["mse"].mean()), float(runs["mse"].std()))
            found[arm] = tuple(float(_rounded(number)) for number in numbers)
    return found


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    """A figure of two columns at fixed places: a layout that measures its texts would depend on the machine's fonts."""
    columns, rows = min(2, number), math.ceil(number / 2)
    height = 2.5 * rows + 0.55
    figure = Figure(figsize=(9, height))
    places = [(place % columns, place // columns) for place in range(number)]
    stride = 0.94 / columns
    boxes = [(0.07 + stride * column, (2.5 * (rows - 1 - row) + 0.45) / height) for column, row in places]
    return figure, [figure.add_axes((left, bottom, stride - 0.07, 1.8 / height)) for left, bottom in boxes]


def _near_ones(axis: Axes, lowest: Mapping[str, float]) -> list[str]:
    """The arms whose lowest error is near the panel's lowest; the others are named in its corner, with theirs."""
    limit = HIGHEST * min(lowest.values())
    far = [f"{arm} {error:.2f}" for arm, error in lowest.items() if error > limit]
    if far:
        text = "not shown: " + ", ".join(far)
        axis.margins(y=0.15)
        axis.text(0.985, 0.985, text, transform=axis.transAxes, ha="right", va="top", fontsize=7, color=MUTED)
    return [arm for arm, error in lowest.items() if error <= limit]


def _labels(axis: Axes, *, x: str, y: str = "") -> None:
    axis.set_xlabel(x, color=MUTED)
    axis.set_ylabel(y, color=MUTED)
    axis.grid(axis="x" if not y else "both", color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, entries: Sequence[tuple[str, str, str, Any]], title: str) -> None:
    figure.text(0.01, 1 - 0.2 / figure.get_figheight(), title, fontsize=9.5, fontweight="bold", va="center")
    handles = [Line2D([], [], color=c, marker=m, linestyle=d or "", markersize=5, label=n) for n, c, m, d in entries]
    if handles:
        place = (0.005, 1 - LEGEND_INCHES / figure.get_figheight())
        figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=place, ncols=len(handles), frameon=False, fontsize=7,
            columnspacing=1.2, borderaxespad=0,
        )  # fmt: skip


def _rounded(values: Any) -> Any:
    return np.round(values, DIGITS)


def _svg(figure: Figure) -> bytes:
    """The figure without the date and the version of what drew it."""
    buffer = BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
