"""Finished runs as a tidy table: a row per run and test set, runs of one model told apart by their flags."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from utils.report.finished_runs import Run
from utils.report.variants import EDITED, variants
from utils.terminal import printable

# A pandas DataFrame; Any, because pyright cannot follow the type hints of pandas through indexing and grouping.
Frame = Any
# Rows that agree in these are results of one model in one cell of a table; they differ in their seed.
CELL = ["labels", "task_name", "features", "seq_len", "percent", "data", "pred_len", "name"]
# The seed of a naive forecast, which has none.
NO_SEED = -1
PINBALL = "pinball"


def measures_of(runs: Sequence[Run]) -> list[str]:
    """The measures that the runs were tested with, in the order in which they recorded them."""
    return list(dict.fromkeys(name for run in runs for test in run.tests.values() for name in test["measures"]))


def result_rows(runs: Sequence[Run]) -> tuple[Frame, dict[str, str]]:
    """A row per run and test set, and run folder -> reason for each run that is not used.

    `name` is the model with its variant, `labels` the comma-separated reasons why a run is no paper result. Runs of the
    same cell and seed with other code are told apart by a hash of it; of those with the same code the newest is used.
    """
    names = variants(runs)
    rows: Frame = pd.DataFrame([row for run in runs for row in _rows_of(run, names[run])])
    if rows.empty:
        return rows, {}
    rows = _names_with_code(rows)
    written = {str(run.folder.path): run.folder.metrics.stat().st_mtime for run in runs}
    order = rows["folder"].map(written.get).sort_values(ascending=False, kind="stable").index
    used = rows.loc[order].drop_duplicates([*CELL, "seed"])
    repeated = rows.drop(used.index).merge(used, on=[*CELL, "seed"], suffixes=("", "_used"))
    left_out = {
        row.folder: f"{row.run_id_used} has the same settings and seed {row.seed} and is newer: that one is used"
        for row in repeated.itertuples()
    }
    return used.sort_index(ignore_index=True), left_out


def naive_rows(runs: Sequence[Run]) -> Frame:
    """The naive forecasts that the runs were measured against, once per test set and method.

    A measure that only some runs recorded is there too, but not one with several values: the pinball loss depends on
    the quantiles of the run.
    """
    columns = [*CELL, "model", "seed", "trainable", *measures_of(runs)]
    rows = [
        _cell(run, data, test) | {"name": _plain(name), "model": _plain(name), "seed": NO_SEED, "trainable": 0} | errors
        for run in runs
        for data, test in run.tests.items()
        for name, errors in test.get("naive", {}).items()
    ]
    found: Frame = pd.DataFrame(rows, columns=columns)
    if found.empty:
        return found
    values = found.groupby(CELL)[PINBALL].transform(_only_value) if PINBALL in found else None
    filled = found if values is None else found.assign(**{PINBALL: values})
    others = [name for name in measures_of(runs) if name != PINBALL]
    first = filled.groupby(CELL)[others].transform("first")
    return filled.assign(**first).drop_duplicates(CELL)


def _only_value(values: Frame) -> float:
    """The value of a column that is the same in all rows that have one; nan if there are several."""
    known = values.dropna()
    return float(known.iloc[0]) if len(known) and np.allclose(known, known.iloc[0]) else nan


def _rows_of(run: Run, variant: str) -> list[dict[str, Any]]:
    metrics, config = run.metrics, run.config
    seconds, parameters = metrics.get("seconds", {}), metrics.get("parameters", {})
    validation, memory = metrics.get("validation", {}), metrics.get("peak_memory_bytes", {})
    common = {
        "model": metrics["model"],
        "variant": variant,
        "name": f"{metrics['model']} ({variant})" if variant else metrics["model"],
        "seed": metrics["seed"],
        "validation_mse": validation.get("mse", nan),
        "validation_mae": validation.get("mae", nan),
        "best_epoch": validation.get("best_epoch", nan),
        **{name: metrics.get(name, nan) for name in ("epochs", "steps", "rows_per_second", "seconds_per_step")},
        **{f"seconds_{part}": seconds.get(part, nan) for part in ("training", "test", "total")},
        **{f"peak_{place}_bytes": memory.get(place, nan) for place in ("host", "device")},
        **{part: parameters.get(part, nan) for part in ("total", "trainable", "inference")},
        **{name: metrics.get(name) for name in ("device", "device_name", "precision", "num_processes")},
        "git_revision": config.get("git_revision"),
        "code": (config.get("source") or {}).get("hash") or "",
        "edited": ", ".join((config.get("source") or {}).get("edited") or []),
        **{f"{name}_version": config.get("versions", {}).get(name) for name in ("python", "torch", "transformers")},
        "run_id": run.run_id,
        "folder": str(run.folder.path),
    }
    rows = [{**_cell(run, data, test), **_errors(test), **common} for data, test in run.tests.items()]
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _names_with_code(rows: Frame) -> Frame:
    """The rows; if the runs of one name and seed in a cell have different code, every row of that name says which."""
    codes = rows.groupby([*CELL, "seed"])["code"].transform("nunique")
    clashing = rows["name"].isin(rows.loc[codes > 1, "name"]) & (rows["code"] != "")
    code = (EDITED + " " + rows["code"]).where(rows["edited"] != "", "code " + rows["code"])
    plain = rows["variant"].str.removesuffix(EDITED).str.removesuffix(", ")
    variant = rows["variant"].mask(clashing, (plain + ", " + code).str.removeprefix(", "))
    return rows.assign(variant=variant, name=rows["name"].mask(clashing, rows["model"] + " (" + variant + ")"))


def _plain(value: Any) -> Any:
    """Texts without halves of characters, which a table cannot hold, and without control characters."""
    return printable(value) if isinstance(value, str) else value


def _errors(test: Any) -> dict[str, Any]:
    names = [*test["measures"], *(f"{name}_original" for name in test["measures"]), "num_windows"]
    return {name: test[name] for name in names if name in test}


def _cell(run: Run, data: str, test: Any) -> dict[str, Any]:
    """What a row is a result of; a model tested at several horizons says for each test which it is."""
    metrics, cell = run.metrics, test.get("cell", {})
    return {
        "task_name": metrics["task_name"],
        "data": data if run.is_of_own_file else cell.get("data", data),
        "features": metrics.get("features", "M"),
        "seq_len": cell.get("seq_len", metrics["seq_len"]),
        "percent": metrics["percent"],
        "pred_len": cell.get("pred_len", metrics["pred_len"]),
        "labels": ", ".join(run.labels),
    }
