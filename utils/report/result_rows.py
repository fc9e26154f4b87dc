"""Runs as tidy rows: one a run and test set, with everything that a table or another program may want."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from utils.finished_runs import Run
from utils.report.variants import variants

Row = dict[str, Any]
CELL = ("labels", "task_name", "features", "seq_len", "percent", "data", "pred_len", "name")
MEASURES = ("mse", "mae", "smape", "mase", "owa")
NO_SEED = -1


def result_rows(runs: Sequence[Run]) -> tuple[list[Row], dict[str, str]]:
    """A row per run and test set, and run folder -> reason for a run left out because its seed is there already.

    `name` is the model with its variant, `labels` the comma-separated reasons why a run is no paper result. Of several
    runs of one cell and seed the newest is used.
    """
    texts = variants(runs)
    newest_first = sorted(runs, key=lambda run: run.folder.metrics.stat().st_mtime, reverse=True)
    rows: dict[tuple, Row] = {}
    left_out: dict[str, str] = {}
    for run in newest_first:
        for row in _rows_of(run, texts[run]):
            other = rows.setdefault((*key_of(row, CELL), row["seed"]), row)
            if other is not row:
                left_out[str(run.folder.path)] = (
                    f"{other['run_id']} has the same settings and seed {row['seed']} and is newer: that one is used"
                )
    order = {str(run.folder.path): place for place, run in enumerate(runs)}
    return sorted(rows.values(), key=lambda row: order[row["folder"]]), left_out


def naive_rows(runs: Sequence[Run]) -> list[Row]:
    """The naive forecasts that every run is measured against, as rows without a seed (one per test set and method)."""
    rows: dict[tuple, Row] = {}
    for run in runs:
        for data, test in run.tests.items():
            for name, errors in test.get("naive", {}).items():
                row = _key(run, data) | {"model": name, "variant": "", "name": name, "seed": NO_SEED, "trainable": 0}
                row |= {measure: errors[measure] for measure in MEASURES if measure in errors}
                rows.setdefault(key_of(row, CELL), row)
    return list(rows.values())


def key_of(row: Row, names: Iterable[str]) -> tuple:
    """The row's entries of these names."""
    return tuple(row[name] for name in names)


def grouped(rows: Iterable[Row], names: Sequence[str]) -> list[tuple[tuple, list[Row]]]:
    """(values of `names`, rows that have them), sorted by those values."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(key_of(row, names), []).append(row)
    return sorted(found.items(), key=lambda item: item[0])


def _rows_of(run: Run, variant: str) -> list[Row]:
    metrics, config = run.metrics, run.config
    seconds, parameters = metrics.get("seconds") or {}, metrics.get("parameters") or {}
    validation, memory = metrics.get("validation") or {}, metrics.get("peak_memory_bytes") or {}
    common = {
        "model": metrics["model"],
        "variant": variant,
        "name": f"{metrics['model']} ({variant})" if variant else metrics["model"],
        "seed": metrics["seed"],
        "validation_mse": validation.get("mse"),
        "validation_mae": validation.get("mae"),
        "best_epoch": validation.get("best_epoch"),
        **{name: metrics.get(name) for name in ("epochs", "steps", "rows_per_second", "seconds_per_step")},
        **{f"seconds_{part}": seconds.get(part) for part in ("training", "test", "total")},
        **{f"peak_{place}_bytes": memory.get(place) for place in ("host", "device")},
        **{part: parameters.get(part) for part in ("total", "trainable", "inference")},
        **{name: metrics.get(name) for name in ("device", "device_name", "precision", "num_processes")},
        "git_revision": config.get("git_revision"),
        **{f"{name}_version": (config.get("versions") or {}).get(name) for name in ("python", "torch", "transformers")},
        "run_id": run.run_id,
        "folder": str(run.folder.path),
    }
    tested = (*MEASURES, "mse_original", "mae_original", "num_windows")
    return [
        _key(run, data) | {name: test[name] for name in tested if name in test} | common
        for data, test in run.tests.items()
    ]


def _key(run: Run, data: str) -> Row:
    metrics = run.metrics
    return {
        "task_name": metrics["task_name"],
        "data": data,
        "features": metrics.get("features", "M"),
        **{name: metrics[name] for name in ("seq_len", "percent", "pred_len")},
        "labels": ", ".join(run.labels),
    }
