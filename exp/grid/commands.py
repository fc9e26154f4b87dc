"""List the runs of script files without starting them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exp.command_line import parse_command
from exp.config import TrainConfig
from exp.exp_basic import Settings
from utils.flags.help import wants_help
from utils.flags.parsing import place_flags

# While a script is read, these programs are replaced by one that records its name and arguments and succeeds.
_RECORDED_PROGRAMS = ("python", "python3", "accelerate", "torchrun")
_RECORDER = '#!/bin/sh\nprintf \'%s\\0\' "$#" "${0##*/}" "$@" >> "$GRID_RECORD"\n'
_SECONDS_PER_SCRIPT = 60
_LATER = {name: getattr(TrainConfig(), name) for name in TrainConfig.flags_added_later}
SUMMARY = "utils.report.summary"


@dataclass(frozen=True)
class GridRun:
    """One run: the words after `python`, a short name for the table, and its settings."""

    words: tuple[str, ...]
    name: str
    settings: Settings

    @property
    def output_dir(self) -> Path:
        return Path(self.settings.train.output_dir)

    @property
    def key(self) -> str:
        """Identifies the run: equal for two commands with the same result."""
        return key_of_record({**self.settings.record(), "flag_roles": self.settings.flag_roles()})


def runs_of_scripts(scripts: Sequence[Path], extra: Sequence[str] = ()) -> list[GridRun]:
    """The runs of `scripts`, one per seed, without repeats; each script gets the `extra` flags.

    Raises FileNotFoundError or ValueError for a missing or failing script, or a command with invalid flags.
    """
    runs: dict[str, GridRun] = {}
    for script in scripts:
        for words in commands_of_script(script, extra):
            try:
                for run in _runs_of_command(words):
                    runs.setdefault(run.key, run)
            except ValueError as error:
                raise ValueError(f"{script}: {' '.join(words)}: {error}") from error
    return _with_distinct_names(list(runs.values()))


def commands_of_script(script: Path, extra: Sequence[str] = ()) -> list[list[str]]:
    """The words after `python` of each command in `script`, found by running it with a recorder in place of python."""
    if not script.is_file():
        raise FileNotFoundError(f"--scripts {script} is missing")
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        for name in _RECORDED_PROGRAMS:
            (Path(folder) / name).write_text(_RECORDER)
            (Path(folder) / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "GRID_RECORD": str(record)}
        try:
            done = subprocess.run(
                ["bash", str(script), *extra], env=environment, capture_output=True, text=True, check=False,
                timeout=_SECONDS_PER_SCRIPT, errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"--scripts {script} takes longer than {_SECONDS_PER_SCRIPT} s: a script of a queue only starts "
                "`python run.py`"
            ) from error
        if done.returncode:
            raise ValueError(f"--scripts {script} ends with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
        # The table at the end of a script is no run.
        commands = [found for found in _recorded(record.read_text()) if found[1][:2] != ["-m", SUMMARY]]
    for program, words in commands:
        if not program.startswith("python") or words[:1] != ["run.py"]:
            raise ValueError(
                f"--scripts {script} starts `{' '.join([program, *words])[:80]}`: a queue takes `python run.py` only"
            )
    return [words for _, words in commands]


def run_of_words(words: Sequence[str]) -> GridRun:
    """The run of a command for one seed. Raises ValueError for invalid flags, or where it asks for help."""
    _refuse_help(words)
    return _grid_run(words, parse_command(words))


def _refuse_help(words: Sequence[str]) -> None:
    if wants_help(words):
        raise ValueError("a command that asks for help is no run")


def _recorded(text: str) -> list[tuple[str, list[str]]]:
    """Parse the record into (program, arguments): each call is count, program and arguments, ended by zero bytes."""
    parts, commands, place = text.split("\0")[:-1], [], 0
    while place < len(parts):
        end = place + 2 + int(parts[place])
        commands.append((parts[place + 1], parts[place + 2 : end]))
        place = end
    return commands


def _runs_of_command(words: Sequence[str]) -> list[GridRun]:
    _refuse_help(words)
    settings = parse_command(words[1:])
    seeds = settings.train.all_seeds
    if len(seeds) == 1 and not settings.train.seeds and settings.train.itr == 1:
        return [_grid_run(words, settings)]
    without = _without(words, ("--seed", "--seeds", "--itr"))
    return [_grid_run([*without, "--seed", str(seed)], settings.with_seed(seed)) for seed in seeds]


def _without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """`words` without `flags` and their values."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = word.partition("=")[0] in flags
        if not dropping:
            kept.append(word)
    return kept


def _grid_run(words: Sequence[str], settings: Settings) -> GridRun:
    data = settings.data
    parts = [settings.model_name, data.data, f"{data.percent}%" if data.percent < 100 else ""]
    parts += [f"{data.seq_len}>{data.pred_len}", f"seed {settings.train.seed}"]
    return GridRun(tuple(words), " ".join(part for part in parts if part), settings)


def _with_distinct_names(runs: Sequence[GridRun]) -> list[GridRun]:
    """`runs` with distinct names: those with equal names get the flags that differ and are not the default."""
    namesakes: dict[str, list[GridRun]] = {}
    for run in runs:
        namesakes.setdefault(run.name, []).append(run)
    named = []
    for run in runs:
        others = [_flags(other.settings) for other in namesakes[run.name]]
        differing = {k: v for k, v in _flags(run.settings).items() if any(other.get(k) != v for other in others)}
        defaults = asdict(type(run.settings.model)()) | asdict(TrainConfig())
        said = [_flag_text(k, v) for k, v in differing.items() if v != defaults.get(k)]
        named.append(replace(run, name=" ".join([run.name, *said])))
    return named


def _flags(settings: Settings) -> dict[str, Any]:
    flags, place = asdict(settings.model) | asdict(settings.train), place_flags(settings.flag_roles())
    return {name: value for name, value in flags.items() if name not in place}


def _flag_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return f"{name}={value}"


def key_of_record(record: Mapping[str, Any]) -> str:
    """Identifies the run of a config.json, or of the flags as `Settings.record` has them: see `GridRun.key`."""
    parts = ("data_config", "model_config", "train_config", "task_config")
    place = place_flags(record.get("flag_roles", {}))
    kept = {part: {k: v for k, v in (record.get(part) or {}).items() if k not in place} for part in parts}
    # Runs of earlier versions have not recorded the flags that were added later.
    for name, default in _LATER.items():
        if kept["train_config"].get(name, default) == default:
            kept["train_config"].pop(name, None)
    # A trial run has one epoch, whatever the flag says.
    if kept["train_config"].get("fast_dev_run"):
        kept["train_config"].pop("train_epochs", None)
    return json.dumps({"task": record.get("task_name"), "model": record.get("model"), **kept}, sort_keys=True)
