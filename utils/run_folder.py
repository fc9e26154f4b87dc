"""A run folder `results/<run id>/`: the names of its files, and what config.json and metrics.json hold."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils import source
from utils.files import (
    PART,
    CannotWrite,
    DamagedFile,
    json_value,
    read_json,
    remove_parts,
    remove_stale_lock,
    replace_file,
    write_json,
)
from utils.schemas.checking import checked
from utils.schemas.config import Config
from utils.schemas.metrics import Epoch, Metrics
from utils.signals import raise_if_requested

FORMAT = 2
READABLE_FORMATS = (1, FORMAT)
PACKAGES = (
    "balm-forecasting", "torch", "transformers", "accelerate", "peft", "numpy", "pandas", "scikit-learn",
    "safetensors", "wandb",
)  # fmt: skip


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.code_changes = path / "code.diff"
        self.lock = path / "run.lock"
        self.lock_of_old_versions = path / "lock.json"
        self.overwritten = path / "overwritten.json"
        self.history = path / "history.jsonl"
        self.timing = path / "timing.jsonl"
        self.metrics = path / "metrics.json"
        self.forecasts = path / "forecasts.safetensors"
        self.forecast_table = path / "forecasts.csv"
        self.window_errors = path / "window_errors.safetensors"
        self.alignment = path / "alignment.safetensors"
        self.plots = path / "plots"
        self.checkpoints = path / "checkpoint"
        self.best = self.checkpoints / "best.safetensors"
        self.last = self.checkpoints / "last.safetensors"
        self.previous = self.checkpoints / "previous.safetensors"
        self.intervals = self.checkpoints / "intervals.safetensors"

    def forecasts_on(self, target: str) -> Path:
        """The sample forecasts on a target of a zero-shot run, or those of any other run (an empty `target`)."""
        return self.path / f"forecasts_{target}.safetensors" if target else self.forecasts

    @property
    def is_finished(self) -> bool:
        """Whether the run was tested and its metrics written."""
        return self.metrics.exists()

    @property
    def times_overwritten(self) -> int:
        """How often `--overwrite` has removed a finished run from here."""
        found = read_json(self.overwritten) if self.overwritten.is_file() else 0
        if type(found) is not int or found < 0:
            raise DamagedFile(f"{self.overwritten} is damaged: it holds no number; remove it")
        return found

    @property
    def has_files(self) -> bool:
        """Whether a run has written anything here."""
        files = (self.config, self.metrics, self.history, self.checkpoints, self.window_errors)
        return any(path.exists() for path in files)

    def create(self) -> None:
        """Make the folder and its subfolders. Raises CannotWrite, naming --output_dir, if that is not allowed."""
        # Trackers have folders of their own here.
        below = self.path.iterdir() if self.path.is_dir() else []
        folders = (self.path, self.checkpoints, self.plots, *(path for path in below if path.is_dir()))
        link = next((path for path in folders if path.is_symlink()), None)
        if link is not None:
            raise CannotWrite(f"{link} is a link, and links are not followed: put the folder itself there")
        try:
            for folder in (self.path, self.checkpoints, self.plots):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable.{os.getpid()}{PART}"
            # A link of this name would be written through.
            probe.unlink(missing_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise CannotWrite(
                f"--output_dir {self.path.parent} cannot be written to ({error.strerror}): choose another folder"
            ) from error

    def prepare(self, *, starts_anew: bool) -> None:
        """Remove what a killed run left half-written and, if `starts_anew`, a finished run; never an unfinished one."""
        for folder in (self.path, self.checkpoints, self.plots):
            remove_parts(folder)
        if starts_anew and self.is_finished:
            write_json(self.overwritten, self.times_overwritten + 1)
            # metrics.json is removed last: if interrupted, the run still counts as finished and is removed next time.
            written = [*self.checkpoints.glob("*.safetensors"), *self.path.glob("*.safetensors")]
            for path in (self.last, *written, self.history, self.timing):
                path.unlink(missing_ok=True)
            self.lock_of_old_versions.unlink(missing_ok=True)
            self.metrics.unlink()

    def unused(self, path: Path) -> Path:
        """Name under which a file that is not used is kept."""
        return path.with_name(f"unused_{path.name}")

    def remove_training(self) -> None:
        """Remove what an unfinished training wrote, the states to go on from first."""
        for path in (self.last, self.previous, self.best, self.history, self.timing):
            path.unlink(missing_ok=True)

    def check_history(self, metrics: Metrics) -> None:
        """Check that history.jsonl is the one that the run ended with. Raises DamagedFile."""
        expected = metrics.get("history_sha256")
        if expected is not None and (not self.history.is_file() or _sha256_of(self.history) != expected):
            raise DamagedFile(f"{self.history} is missing, damaged or of another run")

    def sweep(self) -> None:
        """Remove what killed processes left in a finished run: halves of files, and the lock."""
        remove_stale_lock(self.lock)
        if not self.lock.exists():
            for folder in (self.path, self.checkpoints, self.plots):
                if not folder.is_symlink():
                    remove_parts(folder)
            self.lock_of_old_versions.unlink(missing_ok=True)

    def recorded_run_id(self) -> str | None:
        """The run that the folder belongs to, as its files say; None if they do not. Raises DamagedFile."""
        if self.is_finished:
            return self.read_metrics().get("run_id")
        return self.read_config().get("run_id") if self.config.is_file() else None

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Write config.json (`values`, git revision, package versions; no environment variable), and the code's edits.

        The edits since the git revision are kept as a patch, code.diff.
        """
        patch = source.difference_from_commit()
        if patch:
            replace_file(self.code_changes, patch.encode())
        else:
            self.code_changes.unlink(missing_ok=True)
        record = {"format": FORMAT, **values, "git_revision": source.git_revision(), "versions": versions()}
        write_json(self.config, with_sha256(record))

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, which marks the run as finished: call it after every other file is written.

        Raises CannotWrite if the folder was removed, or emptied, meanwhile.
        """
        raise_if_requested()
        needed = [self.config, *([self.best, self.history] if metrics.get("epochs") else [])]
        lost = next((path for path in needed if not path.is_file()), None)
        if lost is not None:
            raise CannotWrite(f"{lost} was removed while the run was going on: give the same command again")
        self.previous.unlink(missing_ok=True)
        history = {"history_sha256": _sha256_of(self.history)} if self.history.is_file() else {}
        write_json(self.metrics, with_sha256({"format": FORMAT, **metrics, **history}))

    def read_metrics(self) -> Metrics:
        """The metrics of a finished run of any readable format. Raises DamagedFile if they do not fit the schema."""
        return checked(_in_this_format(self.metrics, "upgrade_metrics"), Metrics, self.metrics)

    def own_metrics(self) -> Metrics:
        """`read_metrics` of the run that the folder is called after. Raises DamagedFile if they are of another."""
        metrics = self.read_metrics()
        owner = metrics.get("run_id", self.path.name)
        if owner != self.path.name:
            raise DamagedFile(f"{self.metrics} is of another run, {owner}")
        return metrics

    def read_config(self) -> Config:
        """The flags of a run of any readable format. Raises DamagedFile if they do not fit the schema."""
        return checked(_in_this_format(self.config, "upgrade_config"), Config, self.config)

    def read_history(self) -> list[dict[str, Any]]:
        """One dict per completed epoch; empty if there is none. Raises DamagedFile for lines that are no epoch."""
        try:
            text = self.history.read_text(encoding="utf-8") if self.history.is_file() else ""
        except ValueError as error:
            raise DamagedFile(f"{self.history} is damaged ({error})") from error
        lines = [json_value(line, self.history) for line in text.split("\n") if line.strip()]
        return [checked(line, Epoch, f"{self.history}, line {number}") for number, line in enumerate(lines, start=1)]


def with_sha256(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with a SHA-256 over its entries, by which damage is noticed where it is read."""
    return {**record, "sha256": _sha256(record)}


def _sha256(record: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in record.items() if name != "sha256"}
    # As it is read: tuples are lists, numbers as names of entries are texts.
    text = json.dumps(json.loads(json.dumps(kept)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _in_this_format(path: Path, upgrade: str) -> dict[str, Any]:
    """The JSON object in `path`, brought to the current format."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DamagedFile(f"{path} is damaged: it holds no JSON object")
    if type(value.get("format")) is not int or value["format"] not in READABLE_FORMATS:
        shown = str(value.get("format"))[:20]
        raise DamagedFile(f"{path} has format {shown}; this version reads formats 1 to {FORMAT}")
    if "sha256" in value and value["sha256"] != _sha256(value):
        raise DamagedFile(f"{path} is damaged: its content does not match its SHA-256")
    if value["format"] == FORMAT:
        return value
    return getattr(importlib.import_module("utils.report.format_1"), upgrade)(value)
