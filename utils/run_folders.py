"""Reads run folders back: what a run wrote about itself, or the reason why it cannot be used."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

FORMAT = 1
RUN_FILES = ("config.json", "metrics.json", "history.jsonl", "checkpoint", "window_errors.safetensors")
_KEY_TYPES = {"model": str, "task_name": str, "data": str, "seq_len": int, "pred_len": int, "percent": int, "seed": int}


class UnusableRun(ValueError):
    """A run folder that cannot be read; the message is the reason, in one line."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run, as its folder describes it."""

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return str(self.metrics.get("run_id", self.folder.name))

    @property
    def labels(self) -> tuple[str, ...]:
        """Why this is no paper result ("demo data", "random LLM", ...); empty for one that is."""
        return tuple(self.metrics.get("labels", ()))

    @property
    def data(self) -> str:
        """The data set's name; for custom data the file's name, so that two files are never averaged."""
        path = (self.config.get("data_config") or {}).get("data_path")
        if path and self.metrics["data"] == "custom":
            return f"custom: {Path(path).name}"
        return self.metrics["data"]

    @property
    def tests(self) -> dict[str, dict[str, Any]]:
        """Test metrics by data set name; "ETTh1->ETTm1" where a model was tested on data it was not trained on."""
        source = self.data
        if "targets" in self.metrics:
            return {f"{source}->{name}": test for name, test in self.metrics["targets"].items()}
        return {source: self.metrics["test"]}

    def arrays(self, file_name: str) -> dict[str, Any]:
        """The arrays of a safetensors file of this run; UnusableRun names a file that is missing or damaged."""
        path = self.folder / file_name
        if not path.is_file():
            raise UnusableRun(f"{path} is missing")
        try:
            return load_file(path)
        except (SafetensorError, ValueError, KeyError) as error:
            raise UnusableRun(f"{path} is damaged ({error})") from error

    def array_metadata(self, file_name: str) -> dict[str, str]:
        """The texts in the header of a safetensors file of this run."""
        path = self.folder / file_name
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return json.loads(file.read(length)).get("__metadata__", {})


def read_runs(root: Path) -> tuple[list[Run], dict[Path, str]]:
    """Every readable run under `root`, sorted by folder, and folder -> reason for those that cannot be used.

    FileNotFoundError if `root` is no folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: give the folder that holds the run folders (results/)")
    runs, skipped = [], {}
    for folder in run_folders(root):
        try:
            runs.append(read_run(folder))
        except UnusableRun as error:
            skipped[folder] = str(error)
    return runs, skipped


def run_folders(root: Path) -> list[Path]:
    """Folders at or under `root` that hold a run's files or nothing at all; a run's own folders are not searched."""
    if any((root / name).exists() for name in RUN_FILES):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found: list[Path] = []
    for folder in folders:
        found += run_folders(folder) or [folder]
    return found


def read_run(folder: Path) -> Run:
    """The run in `folder`; UnusableRun says in one line why it cannot be used."""
    if not any(folder.iterdir()):
        raise UnusableRun("the folder is empty")
    if not (folder / "metrics.json").is_file():
        epochs = len(_history(folder)) if (folder / "history.jsonl").is_file() else 0
        raise UnusableRun(f"the run has not finished: there is no metrics.json ({epochs} epochs so far)")
    metrics = _object(folder / "metrics.json")
    _check_format(metrics)
    config = _object(folder / "config.json")
    run = Run(folder=folder, metrics=metrics, config=config, history=_history(folder))
    for name, test in run.tests.items():
        for measure in ("mse", "mae"):
            value = test.get(measure) if isinstance(test, dict) else None
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UnusableRun(f"metrics.json: the test {measure} of {name} is {value}, not a finite number")
    return run


def _check_format(metrics: dict[str, Any]) -> None:
    written = metrics.get("format")
    if written != FORMAT:
        raise UnusableRun(f"metrics.json has format {written!r}; this version reads format {FORMAT}")
    for name, kind in _KEY_TYPES.items():
        if not isinstance(metrics.get(name), kind):
            raise UnusableRun(f"metrics.json: {name!r} is {metrics.get(name)!r}, expected {kind.__name__}")
    if not isinstance(metrics.get("test", metrics.get("targets")), dict):
        raise UnusableRun("metrics.json holds neither 'test' nor 'targets': the run has no test result")


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnusableRun(f"there is no {path.name}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableRun(f"{path.name} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise UnusableRun(f"{path.name} is damaged: it holds no JSON object")
    return value


def _history(folder: Path) -> list[dict[str, Any]]:
    path = folder / "history.jsonl"
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableRun(f"history.jsonl is damaged: {error}") from error
