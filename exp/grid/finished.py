"""Which runs of a queue are finished: in run folders, or in a CSV of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from data_provider.config import DataConfig
from data_provider.data_factory import file_of
from data_provider.datasets import CUSTOM, sha256_of
from exp.exp_basic import Settings
from exp.exp_zero_shot_forecast import ZeroShotConfig
from exp.grid.commands import GridRun, key_of_record, run_of_words
from utils.report.finished_runs import Run, UnusableRun, read_run


class FinishedRuns:
    """The finished runs in the output folders of `runs`."""

    def __init__(self, runs: Sequence[GridRun]) -> None:
        self.runs: dict[str, list[Run]] = {}
        for output_dir in dict.fromkeys(run.output_dir for run in runs):
            for folder in output_dir.glob("*"):
                try:
                    found = read_run(folder)
                except UnusableRun:
                    # Not finished, or damaged, which run.py reports.
                    continue
                self.runs.setdefault(key_of_record(found.config), []).append(found)

    def __contains__(self, run: GridRun) -> bool:
        return any(_reads_the_same(run.settings, done) for done in self.runs.get(run.key, ()))


def _reads_the_same(settings: Settings, done: Run) -> bool:
    """Whether tables of one's own have the content that the finished run with the same flags read.

    A table that is missing is not asked: the run is finished.
    """
    pairs: list[tuple[DataConfig, str | None]] = []
    if settings.data.data == CUSTOM:
        pairs.append((settings.data, done.config.get("series", {}).get("fingerprint")))
    for config in settings.task:
        if isinstance(config, ZeroShotConfig) and CUSTOM in config.target_data:
            own = (test["own_file"] for test in done.metrics["tests"].values() if "own_file" in test)
            pairs.append((config.target(CUSTOM, settings.data), next(own, None)))
    try:
        return all(recorded in (None, _sha256_of(file_of(data))) for data, recorded in pairs)
    except FileNotFoundError:
        return True


@cache
def _sha256_of(path: Path) -> str:
    return sha256_of(path)


def runs_of_csv(path: Path) -> set[str]:
    """Keys (`GridRun.key`) of the runs in a CSV whose column `flags` holds each run's command line as JSON.

    Raises FileNotFoundError or ValueError if there is no such file or column.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "flags" not in table:
        raise ValueError(f"{path} has no column flags")
    commands = [words_of(text, f"{path}, row {row}") for row, text in enumerate(table["flags"], start=1)]
    return {run_of_words(words).key for words in commands}


def words_of(text: str, place: str) -> list[str]:
    """The command line in a cell of the column `flags`. Raises ValueError, which names `place`, if it is none."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{place}: flags should be a list of words, not {text[:40]}")
    return words
