"""Finished runs as committed files: a CSV with a line per run, one with their epochs, and errors of every window."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from utils.files import replace_file
from utils.report.finished_runs import Run, UnusableRun, read_arrays, read_runs
from utils.report.result_rows import result_rows
from utils.verdict.plan import CELLS, data_of, name_of_cell
from utils.verdict.settings import KnownSettings

PLACE = Path(__file__).parent.parent.parent / "docs" / "verdict"
RESULTS, CURVES, ERRORS = "results.csv", "curves.csv", "window_errors"
KEY = ["cell", "arm", "seed"]
OF_THE_PLAN = {data_of(cell) for cell in CELLS}
CURVE = ["run_id", "epoch", "training_mse", "validation_mse"]
# Whole numbers that a run without training does not have.
COUNTS = ("best_epoch", "epochs", "steps", "peak_host_bytes", "peak_device_bytes")
CURVE_DECIMALS = 6
# Columns that may look like numbers ("3e12" is a hash).
TEXTS = ("cell", "arm", "data", "labels", "run_id", "flags", "code", "edited", "git_revision", "python_version")
# Text branches that read a sentence with numbers in it.
READING = ("llm", "random_llm", "permuted", "constant", "words")
PROMPT_DIGITS = 2
Frame = Any


@dataclass(frozen=True)
class Collected:
    """The committed runs, run id -> squared error per test window (mean over channels, scaled units), and epochs."""

    rows: Frame
    errors: dict[str, np.ndarray]
    curves: Frame = field(default_factory=lambda: pd.DataFrame(columns=CURVE))

    def of(self, cell: str, arms: Sequence[str]) -> Frame:
        """The runs of these arms in a cell, by arm and seed."""
        chosen = (self.rows["cell"] == cell) & self.rows["arm"].isin(list(arms))
        return self.rows[chosen].sort_values(["arm", "seed"])

    def errors_of(self, cell: str, arm: str, seed: int) -> np.ndarray:
        """The errors of one run, [window]. Raises ValueError if they are not there."""
        run_id = self._run_ids[cell, arm][seed]
        if run_id not in self.errors:
            raise ValueError(f"{ERRORS}/{cell}.safetensors has no errors of {run_id}: take it from git again")
        return self.errors[run_id]

    def seeds_of(self, cell: str, arm: str) -> set[int]:
        """The seeds that an arm was run with in a cell."""
        return set(self._run_ids.get((cell, arm), {}))

    @cached_property
    def _run_ids(self) -> dict[tuple[str, str], dict[int, str]]:
        found: dict[tuple[str, str], dict[int, str]] = {}
        for cell, arm, seed, run_id in self.rows[[*KEY, "run_id"]].itertuples(index=False):
            found.setdefault((cell, arm), {})[seed] = run_id
        return found


@dataclass(frozen=True)
class Outcome:
    """What `collect` did: numbers of runs, and a line for each that was left out."""

    added: int = 0
    replaced: int = 0
    left_out: tuple[str, ...] = ()


def read(place: Path = PLACE) -> Collected:
    """What is committed in `place`; nothing if there is nothing yet.

    Raises ValueError for a damaged file or an error that is no number.
    """
    if not (place / RESULTS).is_file():
        return Collected(pd.DataFrame(columns=[*KEY, "run_id"]), {})
    errors: dict[str, np.ndarray] = {}
    for file in sorted((place / ERRORS).glob("*.safetensors")):
        try:
            errors |= load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}): take it from git again") from error
    curves = place / CURVES
    rows = _table(place / RESULTS)
    for name in ("mse", "mae"):
        if not pd.api.types.is_numeric_dtype(rows[name]):
            raise ValueError(f"{place / RESULTS}: column {name} holds something that is no number")
    return Collected(rows, errors, _table(curves) if curves.is_file() else pd.DataFrame(columns=CURVE))


def collect(folders: Sequence[Path], place: Path = PLACE) -> Outcome:
    """Add the finished runs under `folders` to what is committed in `place`.

    A run takes the place of a committed one with its run id, whichever code made that, and of two with one run id the
    newer is taken. A run with other flags than its arm has with another seed is left out; so is one with other flags
    than its cell, if it is the first of its arm.
    """
    before = read(place)
    runs, left_out = _newest(folders)
    known = {tuple(key): run_id for *key, run_id in before.rows[[*KEY, "run_id"]].itertuples(index=False)}
    settings = KnownSettings()
    for row in before.rows.to_dict("records"):
        settings.differing(row)
    fresh, errors = [], {}
    for run in runs:
        if run.metrics["data"] in OF_THE_PLAN and run.config.get("data_config", {}).get("data") != run.metrics["data"]:
            left_out.append(
                f"{run.folder.path}: a table of one's own called {run.metrics['data']} is not that data set"
            )
            continue
        row = _row(run)
        run_id = known.setdefault(tuple(row[name] for name in KEY), run.run_id)
        if run_id != run.run_id:
            left_out.append(f"{run.folder.path}: other settings than {run_id}, which has its cell, arm and seed")
            continue
        differing = settings.differing(row)
        if differing:
            left_out.append(f"{run.folder.path}: {', '.join(differing)}, other than in the runs beside it")
            continue
        try:
            errors[run.run_id] = read_arrays(run.folder.window_errors, run)[0]["mse"].astype(np.float32)
        except UnusableRun as error:
            left_out.append(str(error))
            continue
        fresh.append((run, row))
    if not fresh:
        return Outcome(left_out=tuple(left_out))
    ids = [run.run_id for run, _ in fresh]
    kept = before.rows[~before.rows["run_id"].isin(ids)]
    rows = _joined(kept, pd.DataFrame([row for _, row in fresh])).sort_values(KEY, ignore_index=True)
    curves = _joined(before.curves[~before.curves["run_id"].isin(ids)], _curves([run for run, _ in fresh]))
    _write(place, rows, curves, before.errors | errors, sorted({row["cell"] for _, row in fresh}))
    replaced = len(before.rows) - len(kept)
    return Outcome(len(fresh) - replaced, replaced, tuple(left_out))


def cell_of(run: Run) -> str:
    """A cell's name, as in the plan: data, share of the training rows, look-back, horizon and learning rate."""
    metrics = run.metrics
    rate = run.config.get("train_config", {}).get("learning_rate")
    size: dict[str, Any] = {name: metrics[name] for name in ("percent", "seq_len", "pred_len")}
    return name_of_cell(metrics["data"], **size, rate=rate)


def arm_of(run: Run) -> str:
    """An arm's name: the model unless it is BALM, its text branch, and what else it departs in from the plan."""
    metrics, model = run.metrics, run.config.get("model_config", {})
    branch = str(model.get("text_branch", model.get("backbone", "")))
    if model.get("textual_branch") == "none":
        branch = "none"
    arm = {"llm": "pretrained", "random_llm": f"random ({model.get('llm_seed')})"}.get(branch, branch)
    if metrics["model"] != "BALM":
        arm = f"{metrics['model']} {arm}".strip()
    if "minilm" in str(model.get("llm_model", "")).lower():
        arm += ", MiniLM"
    if branch not in ("", "none") and not model.get("alignment_weight", 1):
        arm += ", no alignment"
    if metrics["model"] == "BALM" and branch in READING and model.get("prompt_digits") != PROMPT_DIGITS:
        arm += ", other digits"
    if model.get("learnable_prompt") and branch not in ("none", "numbers", "mlp"):
        arm += ", trained prompt"
    return arm


def _newest(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The finished runs under `folders`, of each run id the newest, and a line for each that is no result."""
    runs: dict[str, Run] = {}
    left_out = []
    for run in (run for folder in folders for run in read_runs(folder)[0]):
        if "fast_dev_run" in run.labels:
            left_out.append(f"{run.folder.path}: a run with --fast_dev_run is no result")
            continue
        other = runs.get(run.run_id)
        if other is None or _written(other) < _written(run):
            runs[run.run_id] = run
    return list(runs.values()), left_out


def _written(run: Run) -> float:
    return run.folder.metrics.stat().st_mtime


def _row(run: Run) -> dict[str, Any]:
    """The run's line in the CSV."""
    (row,) = result_rows([run])[0].drop(columns=["folder", "name", "variant"]).to_dict("records")
    return {"cell": cell_of(run), "arm": arm_of(run), **row, "flags": json.dumps(_flags(run))}


def _curves(runs: Sequence[Run]) -> Frame:
    """A line for each run and epoch: MSE of training (not all models record it) and validation, scaled units."""
    lines = [
        [run.run_id, entry["epoch"], *(_mse(entry.get(part)) for part in ("train", "validation"))]
        for run in runs
        for entry in run.history
    ]
    return pd.DataFrame(lines, columns=CURVE).round(CURVE_DECIMALS)


def _mse(losses: Mapping[str, float] | None) -> float:
    return float((losses or {}).get("mse", np.nan))


def _joined(before: Frame, fresh: Frame) -> Frame:
    """Both tables; an empty one has no types and would turn whole numbers into fractions."""
    return pd.concat([table for table in (before, fresh) if len(table)] or [fresh], ignore_index=True)


def _table(file: Path) -> Frame:
    """The CSV with every number as it is written: pandas' own reading of one may be off by its last bit."""
    table: Frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    return table.apply(lambda column: column if column.name in TEXTS else _numbers(column))


def _numbers(column: Frame) -> Frame:
    for kind in (int, float):
        try:
            return column.map(kind)
        except ValueError:
            continue
    return column


def _write(place: Path, rows: Frame, curves: Frame, errors: Mapping[str, np.ndarray], cells: Sequence[str]) -> None:
    """The CSVs, and the window errors of the `cells` that changed: first these, so that no row lacks its own."""
    (place / ERRORS).mkdir(parents=True, exist_ok=True)
    for cell in cells:
        ids = sorted(rows.loc[rows["cell"] == cell, "run_id"])
        replace_file(place / ERRORS / f"{cell}.safetensors", save({run_id: errors[run_id] for run_id in ids}))
    rows = rows.astype({name: "Int64" for name in COUNTS if name in rows})
    curves = curves.sort_values(["run_id", "epoch"])
    for name, table in ((CURVES, curves), (RESULTS, rows)):
        replace_file(place / name, table.to_csv(index=False, na_rep="nan").encode())


def _flags(run: Run) -> list[str]:
    """The command line of the run without flags that only say where it computes."""
    places = {name for name, role in run.config.get("flag_roles", {}).items() if role == "place"} | {
        "seed",
        "seeds",
        "itr",
    }
    words, kept, skips = list(run.config.get("command", [])), [], False
    for word in words:
        if word.startswith("--"):
            skips = word.removeprefix("--").removeprefix("no_").partition("=")[0] in places
        if not skips:
            kept.append(word)
    return [*kept, "--seed", str(run.metrics["seed"])]
