"""The run folder `results/<run id>/`: the whole record of a run, every file of it replaced in one step."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.files import PART, CannotWrite, read_json, remove_parts, write_json

FORMAT = 1
PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "pandas", "scikit-learn", "safetensors", "wandb")
SECONDS_FOR_GIT = 10


class RunFolder:
    """Names and places of a run's files."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.history = path / "history.jsonl"
        self.timing = path / "timing.jsonl"
        self.metrics = path / "metrics.json"
        self.forecasts = path / "forecasts.safetensors"
        self.window_errors = path / "window_errors.safetensors"
        self.alignment = path / "alignment.safetensors"
        self.plots = path / "plots"
        self.best = path / "checkpoint" / "best.safetensors"
        self.last = path / "checkpoint" / "last.safetensors"
        self.intervals = path / "checkpoint" / "intervals.safetensors"

    @property
    def is_finished(self) -> bool:
        """Whether the run was tested and its metrics written."""
        return self.metrics.exists()

    def create(self) -> None:
        """Makes the folder and those below it; an OSError names --output_dir when that is not allowed."""
        try:
            for folder in (self.path, self.best.parent, self.plots):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable.{os.getpid()}{PART}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CannotWrite(
                f"--output_dir {self.path.parent} cannot be written to ({error.strerror}): choose another folder"
            ) from error

    def prepare(self, *, starts_anew: bool) -> None:
        """Sweeps up after a killed run; `starts_anew` removes a finished run, while an unfinished one is continued."""
        for folder in (self.path, self.best.parent, self.plots):
            remove_parts(folder)
        if starts_anew and self.is_finished:
            # The metrics last: until they are gone the run counts as finished, and its removal is begun again.
            written = [*self.best.parent.glob("*.safetensors"), *self.path.glob("*.safetensors")]
            for path in (self.last, *written, self.history, self.timing):
                path.unlink(missing_ok=True)
            self.metrics.unlink()

    def read_metrics(self) -> dict[str, Any]:
        """The metrics of a finished run."""
        return read_json(self.metrics)

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Every flag, where the code came from, and which versions it ran with; no environment variable."""
        write_json(self.config, {"format": FORMAT, **values, "git_revision": git_revision(), "versions": versions()})


def git_revision() -> str | None:
    """The commit of this code, with a plus sign where files have changed since; None outside a git checkout."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=SECONDS_FOR_GIT
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
