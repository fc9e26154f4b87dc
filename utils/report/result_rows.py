"""Finished runs as a tidy table: a row per run and test set, runs of one model told apart by their flags."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import pandas as pd

from utils.report.finished_runs import Run

# A pandas DataFrame; Any, because pyright cannot follow the type hints of pandas through indexing and grouping.
Frame = Any
# Rows that agree in these are results of one model in one cell of a table; they differ in their seed.
CELL = ["labels", "task_name", "features", "seq_len", "percent", "data", "pred_len", "name"]
# The seed of a naive forecast, which has none.
NO_SEED = -1


def measures_of(runs: Sequence[Run]) -> list[str]:
    """The measures that the runs were tested with, in the order in which they recorded them."""
    return list(dict.fromkeys(name for run in runs for test in run.tests.values() for name in test["measures"]))


def result_rows(runs: Sequence[Run]) -> tuple[Frame, dict[str, str]]:
    """A row per run and test set, and run folder -> reason for each run that is not used.

    `name` is the model with its variant, `labels` the comma-separated reasons why a run is no paper result. If several
    runs have the same cell and seed, the newest is used.
    """
    names = variants(runs)
    rows: Frame = pd.DataFrame([row for run in runs for row in _rows_of(run, names[run])])
    if rows.empty:
        return rows, {}
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
    """The naive forecasts that the runs were measured against, once per test set and method."""
    columns = [*CELL, "model", "seed", "trainable", *measures_of(runs)]
    rows = [
        {**_cell(run, data, test), "name": name, "model": name, "seed": NO_SEED, "trainable": 0, **errors}
        for run in runs
        for data, test in run.tests.items()
        for name, errors in test.get("naive", {}).items()
    ]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(CELL)


def variants(runs: Sequence[Run]) -> dict[Run, str]:
    """Run -> its flags as short text ("text_branch=none"); empty for a model with its default flags.

    A flag is named if it differs within one cell (same task, data, look-back, horizon, percent and model), so recipes
    that differ between data sets are no variants. A switch or a choice of the model that is not at its default is
    always named, if config.json records the defaults ("model_defaults"). Flags at their default are not named; without
    "model_defaults" the default is the value in the runs whose command does not give the flag.
    """
    texts: dict[Run, str] = {}
    for model in {run.metrics["model"] for run in runs}:
        of_model = [run for run in runs if run.metrics["model"] == model]
        names = sorted(_differing_within_a_cell(of_model) | {name for run in of_model for name in _chosen(run)})
        defaults = {name: _default(name, of_model) for name in names}
        for run in of_model:
            flags = _flags(run)
            shown = [_text(name, flags.get(name)) for name in names if flags.get(name) not in defaults[name]]
            texts[run] = ", ".join(shown)
    return texts


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
        **{f"{name}_version": config.get("versions", {}).get(name) for name in ("python", "torch", "transformers")},
        "run_id": run.run_id,
        "folder": str(run.folder.path),
    }
    return [{**_cell(run, data, test), **_errors(test), **common} for data, test in run.tests.items()]


def _errors(test: Any) -> dict[str, Any]:
    names = [*test["measures"], *(f"{name}_original" for name in test["measures"]), "num_windows"]
    return {name: test[name] for name in names if name in test}


def _cell(run: Run, data: str, test: Any) -> dict[str, Any]:
    """What a row is a result of; a model tested at several horizons says for each test which it is."""
    metrics = run.metrics
    return {
        "task_name": metrics["task_name"],
        "data": data,
        "features": metrics.get("features", "M"),
        "seq_len": metrics["seq_len"],
        "percent": metrics["percent"],
        "pred_len": metrics["pred_len"],
        "labels": ", ".join(run.labels),
        **test.get("cell", {}),
    }


def _flags(run: Run) -> dict[str, Any]:
    """The flags that determine the result: those that config.json gives no other role."""
    config, roles = run.config, run.config.get("flag_roles", {})
    parts = [config.get("data_config", {}), config.get("train_config", {}), config.get("model_config", {})]
    flags = {name: value for part in parts for name, value in part.items() if name not in roles}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def _differing_within_a_cell(runs: Sequence[Run]) -> set[str]:
    keys = ("task_name", "features", "seq_len", "pred_len", "percent", "data")
    cells = [str([run.metrics.get(key) for key in keys]) for run in runs]
    flags = pd.DataFrame([{name: repr(value) for name, value in _flags(run).items()} for run in runs])
    num_values = flags.fillna(repr(None)).groupby(cells).nunique()
    return set(num_values.columns[(num_values > 1).any()])


def _chosen(run: Run) -> set[str]:
    """Switches and choices of the model that are not its default; which LLM it reads is told by labels instead."""
    defaults, flags = run.config.get("model_defaults", {}), run.config.get("model_config", {})
    return {
        name
        for name, value in flags.items()
        if isinstance(value, bool | str) and name in defaults and value != defaults[name] and name[:4] != "llm_"
    }


def _default(name: str, runs: Sequence[Run]) -> list[Any]:
    """The flag's default as a list: as recorded, or of a run whose command does not give it; empty if unknown."""
    recorded = [found for run in runs if name in (found := run.config.get("model_defaults", {}))]
    if recorded:
        return [recorded[0][name]]
    return [_flags(run).get(name) for run in runs if not _is_given(name, run)][:1]


def _is_given(name: str, run: Run) -> bool:
    words = [word.partition("=")[0] for word in run.config.get("command", [])]
    return f"--{name}" in words or f"--no_{name}" in words


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return f"{name}={value}"
