"""Finds finished runs under a folder and reads them, or says why a folder cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from utils.run_folder import Config, Metrics, RunFolder


class UnusableRun(ValueError):
    """A run, or a file of one, cannot be used; the message is the reason in one line."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run."""

    folder: RunFolder
    metrics: Metrics
    config: Config
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return self.metrics.get("run_id", self.folder.path.name)

    @property
    def labels(self) -> tuple[str, ...]:
        """Why this is no paper result ("demo data", "random LLM", ...); empty if it may be one."""
        return tuple(self.metrics.get("labels", ()))

    @property
    def data(self) -> str:
        """The data set that it was trained on; for data of one's own the file's name."""
        return self.metrics["data"]

    @property
    def tests(self) -> dict[str, Mapping[str, Any]]:
        """Test errors by data set; zero-shot ones by source and target ("ETTh1->ETTm1")."""
        if self.metrics["task_name"] == "zero_shot_forecast":
            return {f"{self.data}->{name}": test for name, test in self.metrics["tests"].items()}
        return dict(self.metrics["tests"])


def read_runs(root: Path) -> tuple[list[Run], dict[Path, str]]:
    """Every finished run under `root`, sorted by folder, and folder -> reason for the folders that cannot be used.

    Raises FileNotFoundError if `root` is no folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: give the folder that holds the run folders (results/)")
    runs, skipped = [], {}
    for folder in _run_folders(root):
        try:
            runs.append(read_run(folder))
        except UnusableRun as error:
            skipped[folder] = str(error)
    return runs, skipped


def read_run(path: Path) -> Run:
    """The finished run in `path`. Raises UnusableRun."""
    folder = RunFolder(path)
    if not any(path.iterdir()):
        raise UnusableRun("the folder is empty")
    try:
        history = folder.read_history()
        if not folder.is_finished:
            raise UnusableRun(f"the run has not finished: there is no metrics.json ({len(history)} epochs so far)")
        if not folder.config.is_file():
            raise UnusableRun(f"there is no {folder.config.name}")
        return Run(folder, folder.read_metrics(), folder.read_config(), history)
    except OSError as error:
        raise UnusableRun(str(error).replace(f"{path}/", "")) from error


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays of a safetensors file and the texts of its header. Raises UnusableRun if missing or damaged."""
    if not path.is_file():
        raise UnusableRun(f"{path} is missing")
    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportArgumentType]
            return load_file(path), file.metadata() or {}
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise UnusableRun(f"{path} is damaged ({error})") from error


def _run_folders(root: Path) -> list[Path]:
    """Folders at or under `root` that hold a run's files or nothing at all; subfolders of a run are not searched."""
    if RunFolder(root).has_files:
        return [root]
    found: list[Path] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found += _run_folders(folder) or [folder]
    return found
