"""The tables of a result group: accuracy, ablations, cost; all over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from utils.report.result_groups import ResultGroup
from utils.report.result_rows import Frame
from utils.report.table import MISSING, Cell, Table, bytes_text, count_text, figures_text
from utils.terminal import measure_title


def accuracy_table(group: ResultGroup) -> Table:
    """Data sets and horizons by models: mean and deviation over seeds, best bold, second underlined."""
    names = group.main_names
    cells = _ranked_cells(group, names)
    columns = [(name, measure) for name in names for measure in group.measures]
    rows = [
        ([data, horizon], [cells.get((data, horizon, *column), MISSING) for column in columns])
        for data, horizon in group.cells
    ]
    titles = [(name, measure_title(measure)) for name, measure in columns]
    return Table(group.title, ["data", "horizon"], titles, rows, _notes(group, names), group.warning)


def ablation_tables(group: ResultGroup) -> list[Table]:
    """For each model that was also run with flags changed: its variants below one another, and their differences."""
    tables = []
    for model, names in group.variants.items():
        of_names = group.rows[group.rows["name"].isin(names)]
        cells = pd.MultiIndex.from_frame(of_names[["data", "pred_len"]])
        has_variant = cells.isin(cells[(of_names["name"] != model).to_numpy()])
        tables.append(_ablation_table(replace(group, rows=of_names[has_variant]), model, names))
    return tables


def _ablation_table(group: ResultGroup, model: str, names: Sequence[str]) -> Table:
    cells, measures = _ranked_cells(group, names), group.measures
    counts: Frame = group.rows.groupby(["data", group.rows["pred_len"].astype(str), "name"])
    counts = counts[["total", "trainable"]].mean().to_dict("index")
    means = {key: score.mean for key, score in group.score_by_cell.items() if score.complete}
    rows = []
    for data, horizon in group.cells:
        for name in names:
            row = [cells.get((data, horizon, name, measure), MISSING) for measure in measures]
            for measure in measures:
                changed, own = (means.get((data, horizon, which, measure)) for which in (name, model))
                if changed is None or own is None or name == model:
                    row.append(MISSING)
                else:
                    row.append(Cell(f"{changed - own:+.3f}"))
            count = counts.get((data, horizon, name), {})
            row += [Cell(count_text(count.get(part, math.nan))) for part in ("total", "trainable")]
            rows.append(([data, horizon, name], row))
    columns = [("test error", measure_title(measure)) for measure in measures]
    columns += [(f"less that of {model}", measure_title(measure)) for measure in measures]
    columns += [("parameters", "total"), ("parameters", "trained")]
    title = f"Ablations of {model}: {group.title}"
    return Table(title, ["data", "horizon", "model"], columns, rows, _notes(group, names), group.warning)


def score_cell(score: Any, rank: int = 0) -> Cell:
    """A row of `ResultGroup.scores` in a cell; `-` with the number of seeds that are there, unless all are."""
    if not score.complete:
        return Cell(f"- ({score.num_seeds}/{score.num_expected} seeds)", missing=True)
    digits = 3 if abs(score.mean) < 100 else 1
    deviation = f" ± {score.deviation:.{digits}f}" if score.num_seeds > 1 else ""
    return Cell(f"{score.mean:.{digits}f}{deviation}", rank)


def _ranked_cells(group: ResultGroup, names: Sequence[str]) -> dict[tuple[str, ...], Cell]:
    """(data, horizon, name, measure) -> its cell; of these names the best and second best of each measure marked."""
    scores = group.scores[group.scores["name"].isin(names)]
    means = scores.assign(mean=scores["mean"].where(scores["complete"])).groupby(["data", "horizon", "measure"])["mean"]
    # Nothing is marked where there is nothing to compare with.
    ranks = means.rank("dense").where(means.transform("count") > 1)
    ranks = ranks.where(ranks <= 2, 0).astype(int)
    return {
        (score.data, score.horizon, score.name, score.measure): score_cell(score, rank)
        for score, rank in zip(scores.itertuples(), ranks, strict=True)
    }


def _notes(group: ResultGroup, names: Sequence[str]) -> list[str]:
    seeds = group.expected_seeds
    spread = "mean ± sample standard deviation over seeds" if len(seeds) > 1 else "one seed only, no deviation"
    first = f"Test errors in scaled units; {spread} ({', '.join(map(str, seeds))}); best bold, second underlined."
    return [first, *_label_notes(group, names), *_missing_seeds(group, names)]


def _label_notes(group: ResultGroup, names: Sequence[str]) -> list[str]:
    """Which label belongs to which model, if they differ."""
    rows = group.trained_rows
    rows = rows[(rows["labels"] != "") & rows["name"].isin(names)]
    labels = {name: ", ".join(sorted(set(texts))) for name, texts in rows.groupby("name")["labels"]}
    return [f"{name}: {text}." for name, text in labels.items()] if len(set(labels.values())) > 1 else []


def _missing_seeds(group: ResultGroup, names: Sequence[str]) -> list[str]:
    """One line for each cell and model that has runs, but not of every seed of the group."""
    lines, rows = [], group.trained_rows
    rows = rows[(rows["trainable"] != 0) & rows["name"].isin(names)]
    for (data, horizon, name), seeds in rows.groupby(["data", "pred_len", "name"])["seed"]:
        missing = sorted(set(group.expected_seeds) - set(seeds))
        if missing:
            text = ", ".join(map(str, missing))
            lines.append(f"Incomplete: {name} on {data}, horizon {horizon}: no run of seed {text}.")
    return lines


def cost_table(group: ResultGroup) -> Table:
    """What the runs of a group cost, as they measured it themselves: means over seeds."""
    rows = []
    for (data, horizon, name), of_cell in group.trained_rows.groupby(["data", "pred_len", "name"]):
        rows.append(([data, str(horizon), name], [Cell(text) for text in _cost_texts(of_cell)]))
    parameters = [("parameters", part) for part in ("total", "trained", "share trained", "at inference")]
    speed = [("training", part) for part in ("s/step", "rows/s", "epochs", "minutes")]
    memory = [("peak memory", "host"), ("peak memory", "device"), ("machine", "device"), ("machine", "precision")]
    notes = ["Measured by the runs themselves, mean over seeds; compare only runs of one machine."]
    columns = [*parameters, *speed, *memory]
    return Table(f"Cost: {group.title}", ["data", "horizon", "model"], columns, rows, notes, group.warning)


def _cost_texts(rows: Frame) -> list[str]:
    def mean(name: str) -> float:
        return float(rows[name].mean())

    def words(*names: str) -> str:
        return ", ".join(sorted(set(rows[list(names)].bfill(axis=1).iloc[:, 0].fillna("-"))))

    total, trainable = mean("total"), mean("trainable")
    return [
        *(count_text(total), count_text(trainable), f"{100 * trainable / total:.2f} %" if total > 0 else "-"),
        *(count_text(mean("inference")), figures_text(mean("seconds_per_step")), figures_text(mean("rows_per_second"))),
        *(figures_text(mean("epochs")), figures_text(mean("seconds_training") / 60)),
        *(bytes_text(mean("peak_host_bytes")), bytes_text(mean("peak_device_bytes"))),
        *(words("device_name", "device"), words("precision")),
    ]
