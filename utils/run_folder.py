"""A run folder `results/<run id>/`: the names of its files, and what config.json and metrics.json hold."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

from pydantic import FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from utils.files import PART, CannotWrite, DamagedFile, read_json, remove_parts, write_json

FORMAT = 2
READABLE_FORMATS = (1, FORMAT)
PACKAGES = (
    "balm-forecasting", "torch", "transformers", "accelerate", "peft", "numpy", "pandas", "scikit-learn",
    "safetensors", "wandb",
)  # fmt: skip
SECONDS_FOR_GIT = 10


class TestEntry(TypedDict):
    """The test errors on one data set in scaled units; `measures` names those that tables show, in order."""

    mse: FiniteFloat
    mae: FiniteFloat
    measures: list[str]
    naive: NotRequired[dict[str, dict[str, FiniteFloat]]]
    coverage: NotRequired[dict[str, Any]]
    per_channel: NotRequired[dict[str, list[Any]]]
    per_step: NotRequired[dict[str, list[FiniteFloat]]]
    mse_original: NotRequired[FiniteFloat]
    mae_original: NotRequired[FiniteFloat]
    num_windows: NotRequired[int]
    num_rows: NotRequired[int]


class Metrics(TypedDict):
    """metrics.json. `tests` has an entry per data set that the model was tested on, by its name."""

    model: str
    task_name: str
    data: str
    seq_len: int
    pred_len: int
    percent: int
    seed: int
    tests: dict[str, TestEntry]
    run_id: NotRequired[str]
    features: NotRequired[str]
    labels: NotRequired[list[str]]
    validation: NotRequired[dict[str, Any]]
    epochs: NotRequired[int]
    steps: NotRequired[int]
    seconds: NotRequired[dict[str, float]]
    rows_per_second: NotRequired[float]
    seconds_per_step: NotRequired[float]
    peak_memory_bytes: NotRequired[dict[str, int]]
    parameters: NotRequired[dict[str, int]]
    device: NotRequired[str]
    device_name: NotRequired[str]
    precision: NotRequired[str]
    num_processes: NotRequired[int]


class Config(TypedDict, total=False):
    """config.json: every flag with its role (see `flag_roles` in utils/flags.py), and what code ran.

    `series` describes the data (columns, evaluated channels, scaler), `model_defaults` are the model's flags as they
    are without being given, and `command` is what was typed.
    """

    data_config: dict[str, Any]
    train_config: dict[str, Any]
    model_config: dict[str, Any]
    model_defaults: dict[str, Any]
    flag_roles: dict[str, str]
    series: dict[str, Any]
    command: list[str]
    git_revision: str | None
    versions: dict[str, str]


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.lock = path / "run.lock"
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
        self.intervals = self.checkpoints / "intervals.safetensors"

    @property
    def is_finished(self) -> bool:
        """Whether the run was tested and its metrics written."""
        return self.metrics.exists()

    @property
    def has_files(self) -> bool:
        """Whether a run has written anything here."""
        files = (self.config, self.metrics, self.history, self.checkpoints, self.window_errors)
        return any(path.exists() for path in files)

    def create(self) -> None:
        """Make the folder and its subfolders. Raises CannotWrite, naming --output_dir, if that is not allowed."""
        try:
            for folder in (self.path, self.checkpoints, self.plots):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable.{os.getpid()}{PART}"
            probe.touch()
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
            # metrics.json is removed last: if interrupted, the run still counts as finished and is removed next time.
            written = [*self.checkpoints.glob("*.safetensors"), *self.path.glob("*.safetensors")]
            for path in (self.last, *written, self.history, self.timing):
                path.unlink(missing_ok=True)
            self.metrics.unlink()

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Write config.json: `values`, the code's git revision and the package versions; no environment variable."""
        write_json(self.config, {"format": FORMAT, **values, "git_revision": git_revision(), "versions": versions()})

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, which marks the run as finished: call it after every other file is written."""
        write_json(self.metrics, {"format": FORMAT, **metrics})

    def read_metrics(self) -> Metrics:
        """The metrics of a finished run of any readable format. Raises DamagedFile if they do not fit the schema."""
        return _check(_in_this_format(self.metrics, "upgrade_metrics"), Metrics, self.metrics)

    def read_config(self) -> Config:
        """The flags of a run of any readable format. Raises DamagedFile if they do not fit the schema."""
        return _check(_in_this_format(self.config, "upgrade_config"), Config, self.config)

    def read_history(self) -> list[dict[str, Any]]:
        """One dict per completed epoch; empty if there is none. Raises DamagedFile."""
        try:
            lines = self.history.read_text(encoding="utf-8").splitlines() if self.history.is_file() else []
            return [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise DamagedFile(f"{self.history} is damaged ({error})") from error


def git_revision() -> str | None:
    """The commit of this code, with a plus sign if files have changed since; None outside its own git checkout."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=SECONDS_FOR_GIT
        ).stdout.strip()

    try:
        if not Path(git("rev-parse", "--show-toplevel")).samefile(root):
            # Installed in an environment that lies in somebody's repository.
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


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
    if value.get("format") not in READABLE_FORMATS:
        raise DamagedFile(f"{path} has format {value.get('format')!r}; this version reads formats 1 to {FORMAT}")
    if value["format"] == FORMAT:
        return value
    return getattr(importlib.import_module("utils.report.format_1"), upgrade)(value)


def _check(value: dict[str, Any], schema: Any, path: Path) -> Any:
    """`value`, if it fits the schema; entries that the schema does not name are kept."""
    try:
        TypeAdapter(schema).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        found = "" if first["type"] == "missing" else f", not {str(first['input'])[:60]!r}"
        raise DamagedFile(f"{path}: {'/'.join(map(str, first['loc']))}: {first['msg'].lower()}{found}") from error
    return value
