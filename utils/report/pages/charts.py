"""Plotly figures as plain dicts, in the style of the report page.

The texts that come out of files (columns, models) go through `plain`: plotly reads some HTML in every text it draws.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

Figure = dict[str, Any]
Trace = dict[str, Any]

# From the Okabe-Ito palette (colour-blind readers can tell them apart), readable on white and on black.
BLUE, ORANGE, GREEN, PINK, YELLOW, GREY = "#2f8fc9", "#d55e00", "#009e73", "#c06aa0", "#b07c00", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FAINT, GRID = "rgba(128,128,128,0.10)", "rgba(128,128,128,0.25)"
MAX_NAME = 20


def plain(name: str) -> str:
    """`name` as plotly has to be given it to draw it as it is written."""
    return escape(name, quote=False)


def packed(values: Sequence[float | None] | np.ndarray) -> dict[str, str]:
    """Numbers in plotly's binary form, in float32; what is not finite leaves a gap."""
    data = np.asarray(values, dtype="<f4")
    return {"dtype": "f4", "bdata": base64.b64encode(np.where(np.isfinite(data), data, np.nan).tobytes()).decode()}


def line(name: str, values: Sequence[float] | np.ndarray, colour: str, *, dash: str = "solid", **more: Any) -> Trace:
    """One line; `more` gives x, or x0 and dx, and anything else of plotly's scatter trace."""
    style = {"color": colour, "width": 1.8, "dash": dash}
    return {"type": "scatter", "mode": "lines", "name": plain(name), "y": packed(values), "line": style, **more}


def figure(traces: Sequence[Trace], *, height: int = 250, x: Any = None, y: Any = None, **layout: Any) -> Figure:
    """A figure of `traces`; `x` and `y` are settings of the axes, `layout` any others."""
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, "tickfont": {"size": 11}}
    return {
        "data": list(traces),
        "layout": {
            "height": height,
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "margin": {"l": 45, "r": 12, "t": 34, "b": 40},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "transparent"},
            "xaxis": axis | {"showgrid": False, "spikecolor": GREY, "spikethickness": 1} | (x or {}),
            "yaxis": axis | (y or {}),
            **layout,
        },
    }


def line_figure(traces: Sequence[Trace], *, x_title: str, num_points: int) -> Figure:
    """Lines over whole numbers (epochs, steps); the values of all of them are shown under the pointer."""
    x = {"title": {"text": x_title}, "hoverformat": "d"} | ({"dtick": 1} if num_points <= 10 else {})
    return figure(traces, x=x, y={"hoverformat": ".4~g"}, hovermode="x unified", showlegend=True)


def bar_figure(names: Sequence[str], values: Sequence[float], colour: str) -> Figure:
    """A horizontal bar for each name, from top to bottom, with its value written beside it."""
    places = list(range(len(names)))
    shown = [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in names]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": packed(values),
        "y": places,
        "marker": {"color": colour},
        "texttemplate": "%{x:.4~g}",
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": [plain(name) for name in names],
        "hoverinfo": "x+text",
    }
    # Names are labels of numbered places: as values of the axis, "1" or "2018-01" would be a number and a date.
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": [plain(name) for name in shown], "showgrid": False}
    x = {"rangemode": "tozero", "hoverformat": ".4~g", "nticks": 5, "showgrid": True}
    if min(values, default=0.0) < 0:
        # Room for the numbers beside bars that go to the left.
        x |= {"range": [1.3 * min(values), 1.3 * max(0.0, *values)]}
    margin = {"l": 10, "r": 55, "t": 28, "b": 30}
    return figure([bars], height=80 + 22 * len(names), x=x, y=ticks | {"autorange": "reversed"}, margin=margin)


def box_figure(names: Sequence[str], quartiles: Sequence[Sequence[float]], colours: Sequence[str]) -> Figure:
    """A horizontal box for each name, from the first to the third quartile, the median marked, on a log axis."""
    boxes = [
        {
            "type": "box",
            "orientation": "h",
            "y": [name],
            "q1": [low],
            "median": [middle],
            "q3": [high],
            "line": {"color": colour},
            "hoverinfo": "x",
            "showlegend": False,
        }
        for name, (low, middle, high), colour in zip(names, quartiles, colours, strict=True)
    ]
    margin = {"l": 10, "r": 15, "t": 28, "b": 30}
    x = {"type": "log", "hoverformat": ".4~g", "nticks": 5, "tickangle": 0, "tickformat": ".3~g"}
    y = {"type": "category", "autorange": "reversed"}
    return figure(boxes, height=80 + 26 * len(names), x=x, y=y, margin=margin)
