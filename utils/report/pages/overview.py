"""Charts over all runs of a page: errors by horizon with every seed, and error against the cost of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from utils.report.pages.charts import COLOURS, DASHES, GREY, Trace, figure, line, packed, plain
from utils.report.result_groups import ResultGroup
from utils.report.result_rows import NO_SEED, Frame
from utils.terminal import measure_title

Card = dict[str, Any]


def overview_cards(groups: Sequence[ResultGroup]) -> list[Card]:
    """The charts of each group and data set, with the naive forecasts among the models."""
    cards: list[Card] = []
    for group in groups:
        for data, horizons in group.horizons.items():
            where = f"{data}, {group.title}{f' ({group.warning})' if group.warning else ''}"
            cards.append(
                {"title": f"{_first(group)} by horizon: {where}", "figure": _by_horizon(group, data, horizons)}
            )
            cost = _against_cost(group, data, horizons[-1])
            if cost is not None:
                cards.append({"title": f"{_first(group)} against training time: {where}", "figure": cost})
    return cards


def _first(group: ResultGroup) -> str:
    return measure_title(group.measures[0])


def _by_horizon(group: ResultGroup, data: str, horizons: Sequence[int]) -> dict[str, Any]:
    """A line of means over the seeds for each model, and a dot for each seed."""
    measure, traces = group.measures[0], []
    places = {horizon: place for place, horizon in enumerate(horizons)}
    for number, name in enumerate(group.main_names):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        scores = [group.score_by_cell.get((data, str(horizon), name, measure)) for horizon in horizons]
        means = [float("nan") if score is None else float(score.mean) for score in scores]
        traces.append(line(name, means, colour, dash=dash, x=list(range(len(horizons))), mode="lines+markers"))
        rows = group.trained_rows
        rows = rows[(rows["name"] == name) & (rows["data"] == data)].dropna(subset=[measure])
        if len(rows) > len(set(rows["pred_len"])):
            dots = {"mode": "markers", "marker": {"color": colour, "size": 5, "opacity": 0.5}, "showlegend": False}
            x = [places[horizon] for horizon in rows["pred_len"]]
            traces.append({"type": "scatter", "x": x, "y": packed(rows[measure].tolist()), "name": plain(name), **dots})
    ticks = {"tickvals": list(places.values()), "ticktext": [str(horizon) for horizon in horizons]}
    x = {"title": {"text": "horizon, time steps"}, **ticks}
    return figure(traces, height=320, x=x, y={"title": {"text": "scaled units"}, "hoverformat": ".4~g"})


def _against_cost(group: ResultGroup, data: str, horizon: int) -> dict[str, Any] | None:
    """A point for each trained model at its longest horizon; None if fewer than two recorded their time."""
    measure, rows = group.measures[0], group.rows
    rows = rows[(rows["data"] == data) & (rows["pred_len"] == horizon) & rows["name"].isin(group.main_names)]
    trained = rows[rows["seed"] != NO_SEED].groupby("name")[[measure, "seconds_training"]].mean().dropna()
    if len(trained) < 2:
        return None
    traces: list[Trace] = [
        {
            "type": "scatter", "mode": "markers+text", "name": plain(str(name)), "text": [plain(str(name))],
            "textposition": _beside(row["seconds_training"], trained["seconds_training"]),
            "x": [float(row["seconds_training"])], "y": [float(row[measure])],
            "marker": {"color": COLOURS[number % len(COLOURS)], "size": 9}, "showlegend": False,
        }
        for number, (name, row) in enumerate(trained.iterrows())
    ]  # fmt: skip
    naive = rows[rows["seed"] == NO_SEED].groupby("name")[measure].mean()
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(value), "y1": float(value),
         "line": {"color": GREY, "width": 1, "dash": "dot"}}
        for value in naive
    ]  # fmt: skip
    notes = [
        {"xref": "paper", "x": 1, "y": float(value), "text": plain(str(name)), "showarrow": False, "yanchor": "bottom"}
        for name, value in naive.items()
    ]
    x = {"type": "log", "title": {"text": f"seconds of training, horizon {horizon}"}, "hoverformat": ".3~g"}
    y = {"title": {"text": "scaled units"}, "hoverformat": ".4~g"}
    return figure(traces, height=320, x=x, y=y, hovermode="closest", shapes=shapes, annotations=notes)


def _beside(seconds: float, all_seconds: Frame) -> str:
    """Where a name stands at its point, so that the edges of the chart cut none."""
    if seconds == all_seconds.min():
        return "top right"
    return "top left" if seconds == all_seconds.max() else "top center"
