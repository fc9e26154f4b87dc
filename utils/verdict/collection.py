"""Finished runs as committed files: a CSV with a line per run, and the errors of every test window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from utils.report.finished_runs import Run, read_arrays, read_runs
from utils.report.result_rows import result_rows

PLACE = Path(__file__).parent.parent.parent / "docs" / "verdict"
RESULTS, ERRORS = "results.csv", "window_errors"
KEY = ["cell", "arm", "seed"]
Frame = Any


@dataclass(frozen=True)
class Collected:
    """The committed runs, and run id -> squared error per test window (mean over channels, scaled units)."""

    rows: Frame
    errors: dict[str, np.ndarray]

    def of(self, cell: str, arms: Sequence[str]) -> Frame:
        """The runs of these arms in a cell, by arm and seed."""
        chosen = (self.rows["cell"] == cell) & self.rows["arm"].isin(list(arms))
        return self.rows[chosen].sort_values(["arm", "seed"])

    def window_errors(self, cell: str, arms: Sequence[str]) -> np.ndarray:
        """Their errors, [run, window]."""
        return np.stack([self.errors[run_id] for run_id in self.of(cell, arms)["run_id"]])


def read(place: Path = PLACE) -> Collected:
    """What is committed in `place`; nothing if there is nothing yet."""
    if not (place / RESULTS).is_file():
        return Collected(pd.DataFrame(columns=[*KEY, "run_id"]), {})
    errors: dict[str, np.ndarray] = {}
    for file in sorted((place / ERRORS).glob("*.safetensors")):
        errors |= load_file(file)
    return Collected(pd.read_csv(place / RESULTS, keep_default_na=False, na_values=["nan"]), errors)


def collect(folders: Sequence[Path], place: Path = PLACE) -> int:
    """Add the finished runs under `folders` to what is committed in `place`; the number of new ones.

    A run that is there already (cell, arm, seed) stays as it is.
    """
    before = read(place)
    runs = [run for folder in folders for run in read_runs(folder)[0] if "fast_dev_run" not in run.labels]
    rows, errors = _rows(runs)
    known = {tuple(key) for key in before.rows[KEY].itertuples(index=False)}
    fresh = rows[[tuple(key) not in known for key in rows[KEY].itertuples(index=False)]] if len(rows) else rows
    if fresh.empty:
        return 0
    # An empty table has no types, and would turn whole numbers into fractions.
    both = fresh if before.rows.empty else pd.concat([before.rows, fresh], ignore_index=True)
    both = both.sort_values(KEY, ignore_index=True)
    (place / ERRORS).mkdir(parents=True, exist_ok=True)
    both.to_csv(place / RESULTS, index=False)
    everything = before.errors | {run_id: errors[run_id] for run_id in fresh["run_id"]}
    for cell in fresh["cell"].unique():
        ids = sorted(both.loc[both["cell"] == cell, "run_id"])
        save_file({run_id: everything[run_id] for run_id in ids}, place / ERRORS / f"{cell}.safetensors")
    return len(fresh)


def cell_of(run: Run) -> str:
    """A cell's name, as in the plan: data, share of the training rows, horizon and learning rate."""
    metrics, train = run.metrics, run.config.get("train_config", {})
    share = f"_{metrics['percent']}pct" if metrics["percent"] != 100 else ""
    return f"{metrics['data']}{share}_{metrics['seq_len']}_{metrics['pred_len']}_rate{train.get('learning_rate')}"


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
    if model.get("learnable_prompt") and branch not in ("none", "numbers", "mlp"):
        arm += ", trained prompt"
    return arm


def _rows(runs: Sequence[Run]) -> tuple[Frame, dict[str, np.ndarray]]:
    rows, _ = result_rows(runs)
    by_id = {run.run_id: run for run in runs}
    if len(rows):
        found = [by_id[run_id] for run_id in rows["run_id"]]
        rows.insert(0, "cell", [cell_of(run) for run in found])
        rows.insert(1, "arm", [arm_of(run) for run in found])
        rows["flags"] = [json.dumps(_flags(run)) for run in found]
        rows = rows.drop(columns=["folder", "name", "variant"])
    errors = {
        run_id: read_arrays(run.folder.window_errors, run)[0]["mse"].astype(np.float32) for run_id, run in by_id.items()
    }
    return rows, errors


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
