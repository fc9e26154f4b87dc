"""Finds finished runs under a folder and reads them, or says why a folder cannot be used."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from utils.checkpoint import METADATA_KEY, load_checkpoint
from utils.files import json_value
from utils.run_folder import RunFolder
from utils.schemas.config import Config
from utils.schemas.metrics import Metrics
from utils.terminal import printable

CUSTOM = "custom"
NUM_SHOWN = 6
# Marks a target, which may have the name of its source.
TARGET = "-> "
UNKNOWN = "of unknown content"


class UnusableRun(ValueError):
    """A run, or a file of one, cannot be used; the message is the reason in one line."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run."""

    folder: RunFolder
    metrics: Metrics
    config: Config
    history: list[dict[str, Any]] = field(default_factory=list)
    shown_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.metrics.get("run_id", self.folder.path.name)

    @property
    def labels(self) -> tuple[str, ...]:
        """Why this is no paper result ("demo data", "random LLM", ...); empty if it may be one."""
        return tuple(map(printable, self.metrics.get("labels", ())))

    @property
    def data(self) -> str:
        """The data set that it was trained on; for data of one's own the file's name (see `told_apart`)."""
        return printable(self.shown_names.get(self.metrics["data"], self.metrics["data"]))

    @property
    def tests(self) -> dict[str, Mapping[str, Any]]:
        """Test errors by data set; zero-shot ones by source and target ("ETTh1->ETTm1")."""
        return {printable(self._test_name(name)): test for name, test in self.metrics["tests"].items()}

    def _test_name(self, name: str) -> str:
        if self.metrics["task_name"] == "zero_shot_forecast":
            return f"{self.data}->{self.shown_names.get(f'{TARGET}{name}', name)}"
        if name == self.metrics["data"]:
            return self.data
        return f"{self.data}, {name}" if self.is_of_own_file else name

    @property
    def is_of_own_file(self) -> bool:
        """Whether it was trained on a table of one's own, which may have any name."""
        return self.config.get("data_config", {}).get("data") == CUSTOM

    @property
    def own_files(self) -> dict[str, str]:
        """Name -> beginning of the SHA-256 of a table of one's own, "" for a data set; targets are `TARGET` + name."""
        found = self.config.get("series", {}).get("fingerprint", "")[:NUM_SHOWN] or UNKNOWN
        files = {self.metrics["data"]: found if self.is_of_own_file else ""}
        if self.metrics["task_name"] != "zero_shot_forecast":
            return files
        named = self.config.get("task_config", {}).get("target_data")
        for name, test in self.metrics["tests"].items():
            # Runs of earlier versions did not record the content of a target of one's own.
            before = UNKNOWN if isinstance(named, list) and name not in named else ""
            files[f"{TARGET}{name}"] = test["own_file"][:NUM_SHOWN] if "own_file" in test else before
        return files


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
    return told_apart(runs), skipped


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs; tables of one's own carry their fingerprint where another table, or a data set, has the same name."""
    contents: dict[str, set[str]] = {}
    for run in runs:
        for key, own in run.own_files.items():
            contents.setdefault(key.removeprefix(TARGET), set()).add(own)

    def shown(key: str, own: str) -> str:
        name = key.removeprefix(TARGET)
        is_ambiguous = len(contents[name]) > 1 or name in published_data()
        return f"{name} (own file {own})" if own and is_ambiguous else name

    return [replace(run, shown_names={key: shown(key, own) for key, own in run.own_files.items()}) for run in runs]


@cache
def published_data() -> frozenset[str]:
    """Names of the data sets with published figures."""
    with (Path(__file__).parent / "published" / "accuracy.csv").open(encoding="utf-8", newline="") as file:
        return frozenset(row["dataset"] for row in csv.DictReader(file))


def read_run(path: Path) -> Run:
    """The finished run in `path`. Raises UnusableRun."""
    folder = RunFolder(path)
    if not _is_text(path.name):
        raise UnusableRun("its name is not text in UTF-8: rename it")
    try:
        if path.is_symlink() or any(file.is_symlink() for file in (*path.iterdir(), *folder.checkpoints.glob("*"))):
            raise UnusableRun("it is a link or holds one: links are not followed")
        if not any(path.iterdir()):
            raise UnusableRun("the folder is empty")
        history = folder.read_history()
        if not folder.is_finished:
            raise UnusableRun(f"the run has not finished: there is no metrics.json ({len(history)} epochs so far)")
        if not folder.config.is_file():
            raise UnusableRun(f"there is no {folder.config.name}")
        metrics, config = folder.read_metrics(), folder.read_config()
        owners = [metrics.get("run_id"), config.get("run_id")]
        if None not in owners and owners[0] != owners[1]:
            raise UnusableRun(f"metrics.json and config.json are of two runs: {owners[0]}, {owners[1]}")
        folder.check_history(metrics)
        return Run(folder, metrics, config, history)
    except OSError as error:
        raise UnusableRun(str(error).replace(f"{path}/", "")) from error


def read_arrays(path: Path, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a file of `run` and its header. Raises UnusableRun if missing, damaged or of another run."""
    if not path.is_file():
        raise UnusableRun(f"{path} is missing")
    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportArgumentType]
            texts = file.metadata() or {}
        if METADATA_KEY in texts:
            tensors, header = load_checkpoint(path, run_id=run.metrics.get("run_id"))
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        else:  # before there were hashes, each entry of the header was a text, of JSON for the lists
            arrays = load_file(path)
            header = {name: json_value(text, path) if text[:1] == "[" else text for name, text in texts.items()}
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise UnusableRun(f"{path} is damaged ({_line(error)})") from error
    broken = next((name for name, values in arrays.items() if values.dtype.kind not in "fiu"), None)
    if broken is not None:
        raise UnusableRun(f"{path} is damaged ({broken} holds no numbers)")
    return arrays, header


def _is_text(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8 (Python shows others as lone surrogates)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _run_folders(root: Path) -> list[Path]:
    """Folders at or under `root` that hold a run's files or nothing at all; subfolders of a run are not searched."""
    found, waiting = list[Path](), [root]
    while waiting:  # not a recursion, which a folder of a thousand levels would break off
        folder = waiting.pop()
        try:
            is_searched = folder == root or not folder.is_symlink()
            if not is_searched or RunFolder(folder).has_files:
                found.append(folder)
                continue
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # `read_run` says why
            found.append(folder)
            continue
        if not below and folder != root:
            found.append(folder)
        waiting += reversed(below)
    return found
