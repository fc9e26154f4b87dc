"""Tables of results over seeds, a track each: accuracy, ablations, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from utils.report.quantities import bytes_text, count_text, figures_text
from utils.report.result_groups import Horizon, Score, Track
from utils.report.result_rows import Row, grouped
from utils.report.table import Cell, Table

MISSING = Cell("-", missing=True)


def accuracy_table(track: Track) -> Table:
    """Data sets and horizons by models: mean and deviation over seeds, best bold, second underlined."""
    names, measures, rows = track.main_names, track.measures, []
    for data, horizon in track.cells:
        cells = _ranked_cells(track, data, horizon, names)
        rows.append(([data, str(horizon)], [cells[name, measure] for name in names for measure in measures]))
    columns = [(name, measure.upper()) for name in names for measure in measures]
    return Table(track.title, ["data", "horizon"], columns, rows, _notes(track, names), track.warning)


def ablation_tables(track: Track) -> list[Table]:
    """For each model that was also run with flags changed: its variants below one another, with what each changes."""
    tables = []
    for model, names in track.variants.items():
        found = {(row["data"], row["pred_len"]) for row in track.rows if row["name"] in names and row["name"] != model}
        rows = [row for row in track.rows if row["name"] in names and (row["data"], row["pred_len"]) in found]
        tables.append(_ablation_table(replace(track, rows=rows), model, names))
    return tables


def _ablation_table(track: Track, model: str, names: Sequence[str]) -> Table:
    rows = []
    for data, horizon in track.cells:
        cells = _ranked_cells(track, data, horizon, names)
        for name in names:
            row = [cells[name, measure] for measure in track.measures]
            row += [_change(track, data, horizon, (model, name), measure) for measure in track.measures]
            counts = [row for row in track.rows if (row["name"], row["data"]) == (name, data)]
            counts = [row for row in counts if row["pred_len"] == horizon]
            row += [Cell(count_text(_mean(counts, part))) for part in ("total", "trainable")]
            rows.append(([data, str(horizon), name], row))
    columns = [("test error", measure.upper()) for measure in track.measures]
    columns += [(f"less that of {model}", measure.upper()) for measure in track.measures]
    columns += [("parameters", "total"), ("parameters", "trained")]
    title = f"Ablations of {model}: {track.title}"
    return Table(title, ["data", "horizon", "model"], columns, rows, _notes(track, names), track.warning)


def _change(track: Track, data: str, horizon: Horizon, names: tuple[str, str], measure: str) -> Cell:
    """What the second model's mean is above that of the first, over the same seeds."""
    scores = [track.score(data, horizon, name, measure) for name in names]
    first, second = scores
    if names[0] == names[1] or first is None or second is None or not (first.complete and second.complete):
        return MISSING
    return Cell(f"{second.mean - first.mean:+.3f}")


def _ranked_cells(track: Track, data: str, horizon: Horizon, names: Sequence[str]) -> dict[tuple[str, str], Cell]:
    """(name, measure) -> its cell, the best and second best of each measure marked."""
    cells: dict[tuple[str, str], Cell] = {}
    for measure in track.measures:
        scores: dict[str, Score | None] = {name: track.score(data, horizon, name, measure) for name in names}
        ranks = _ranks({name: score.mean for name, score in scores.items() if score and score.complete})
        for name, score in scores.items():
            cells[name, measure] = score.cell(ranks.get(name, 0)) if score else MISSING
    return cells


def _notes(track: Track, names: Sequence[str]) -> list[str]:
    seeds = track.expected_seeds
    spread = "mean ± sample standard deviation over seeds" if len(seeds) > 1 else "one seed only, no deviation"
    first = f"Test errors in scaled units; {spread} ({', '.join(map(str, seeds))}); best bold, second underlined."
    return [first, *_label_notes(track, names), *missing_seeds(track, names)]


def _label_notes(track: Track, names: Sequence[str]) -> list[str]:
    """Which label belongs to which model, where they differ."""
    found = grouped([row for row in track.trained_rows if row["labels"] and row["name"] in names], ["name"])
    labels = {name: ", ".join(sorted({row["labels"] for row in rows})) for (name,), rows in found}
    return [f"{name}: {text}." for name, text in labels.items()] if len(set(labels.values())) > 1 else []


def missing_seeds(track: Track, names: Sequence[str]) -> list[str]:
    """One line for each cell and model that has runs, but not of every seed that the track has."""
    lines = []
    trained = [row for row in track.trained_rows if row.get("trainable") != 0 and row["name"] in names]
    for (data, horizon, name), rows in grouped(trained, ["data", "pred_len", "name"]):
        missing = sorted(set(track.expected_seeds) - {row["seed"] for row in rows})
        if missing:
            seeds = ", ".join(map(str, missing))
            lines.append(f"Incomplete: {name} on {data}, horizon {horizon}: no run of seed {seeds}.")
    return lines


def cost_table(track: Track) -> Table:
    """What the runs of a track cost, as they measured it themselves: means over seeds."""
    rows = []
    for (data, horizon, name), of_cell in grouped(track.trained_rows, ["data", "pred_len", "name"]):
        rows.append(([data, str(horizon), name], [Cell(text) for text in _cost_texts(of_cell)]))
    parameters = [("parameters", part) for part in ("total", "trained", "share trained", "at inference")]
    speed = [("training", part) for part in ("s/step", "rows/s", "epochs", "minutes")]
    memory = [("peak memory", "host"), ("peak memory", "device"), ("machine", "device"), ("machine", "precision")]
    notes = ["Measured by the runs themselves, mean over seeds; compare only runs of one machine."]
    columns = [*parameters, *speed, *memory]
    return Table(f"Cost: {track.title}", ["data", "horizon", "model"], columns, rows, notes, track.warning)


def _cost_texts(rows: Sequence[Row]) -> list[str]:
    def mean(name: str) -> float:
        return _mean(rows, name)

    def words(*names: str) -> str:
        found = {next((str(row[name]) for name in names if row.get(name)), "-") for row in rows}
        return ", ".join(sorted(found))

    total, trainable = mean("total"), mean("trainable")
    return [
        *(count_text(total), count_text(trainable), f"{100 * trainable / total:.2f} %" if total > 0 else "-"),
        *(count_text(mean("inference")), figures_text(mean("seconds_per_step")), figures_text(mean("rows_per_second"))),
        *(figures_text(mean("epochs")), figures_text(mean("seconds_training") / 60)),
        *(bytes_text(mean("peak_host_bytes")), bytes_text(mean("peak_device_bytes"))),
        *(words("device_name", "device"), words("precision")),
    ]


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
    return fmean(values) if values else math.nan


def _ranks(means: dict[str, float]) -> dict[str, int]:
    """1 for the smallest and 2 for the next value; equal values share a rank; none where there is nothing to beat."""
    best = sorted(set(means.values()))[:2] if len(means) > 1 else []
    return {name: best.index(value) + 1 for name, value in means.items() if value in best}
