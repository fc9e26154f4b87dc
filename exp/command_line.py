"""From the words of a command to `Settings`: the flags of exactly one task and one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers.hf_argparser import HfArg

from data_provider.config import DataConfig
from exp import TASKS, task_class
from exp.checkpoint_task import CheckpointTask
from exp.config import TrainConfig
from exp.exp_basic import Experiment, Settings
from models import MODELS, model_class
from utils.flags import flag_names, parse_flags
from utils.tracking import TrackConfig

DESCRIPTION = "Train a forecaster, test it once, and leave a complete run folder."
COMMON = (DataConfig, TrainConfig, TrackConfig)


@dataclass(frozen=True)
class TaskSelection:
    """The flag that decides which others there are."""

    task_name: str = HfArg(default="long_term_forecast", help=f"One of {', '.join(TASKS)}")


@dataclass(frozen=True)
class Selection(TaskSelection):
    """The two flags that decide which others there are where a model is trained."""

    model: str = HfArg(default="BALM", help=f"One of {', '.join(MODELS)}, or tslib:NAME")


def selected_task(arguments: Sequence[str]) -> type[Experiment] | type[CheckpointTask]:
    """The class of the task that `arguments` name (ValueError if there is none)."""
    return task_class(_select(arguments).task_name)


def parse_checkpoint_task(task: type[CheckpointTask], arguments: Sequence[str]) -> tuple[Any, ...]:
    """The configs of a task that takes everything else from a checkpoint; a ValueError as by `parse_command`."""
    config_types = (TaskSelection, *task.task_configs)
    elsewhere = flag_names((Selection, *COMMON)) - flag_names(config_types)
    owners = dict.fromkeys(elsewhere, "training: the checkpoint says it")
    _, *configs = parse_flags(
        config_types,
        arguments,
        belongs_to=_owners(flag_names(config_types), arguments) | owners,
        prog="run.py",
        description=task.description,
    )
    return tuple(configs)


def parse_command(arguments: Sequence[str]) -> Settings:
    """What `arguments` ask for; a ValueError says in one line all that is wrong with them."""
    chosen = _select(arguments)
    task, model = task_class(chosen.task_name), model_class(chosen.model)
    config_types = (Selection, *COMMON, model.Config, *task.task_configs)
    _, data, train, track, model_config, *task_configs = parse_flags(
        config_types,
        arguments,
        belongs_to=_owners(flag_names(config_types), arguments),
        prog="run.py",
        description=f"{DESCRIPTION} These are the flags of --model {chosen.model} --task_name {chosen.task_name}; "
        "name another model or task before --help to see its own.",
    )
    return Settings(
        task_name=chosen.task_name,
        model_name=chosen.model,
        model_class=model,
        data=data,
        model=model_config,
        train=train,
        track=track,
        task=tuple(task_configs),
        command=tuple(arguments),
    )


def _select(arguments: Sequence[str]) -> Selection:
    values = vars(Selection())
    words = list(arguments)
    for position, word in enumerate(words):
        flag, equals, given = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in values:
            given = given if equals else (words[position + 1 : position + 2] or [""])[0]
            if not given or given.startswith("--"):
                raise ValueError(f"--{name} needs a value: {', '.join(MODELS if name == 'model' else TASKS)}")
            values[name] = given
    return Selection(**values)


def _owners(known: set[str], arguments: Sequence[str]) -> dict[str, str]:
    """Whose the flags in `arguments` are that the chosen model and task do not have."""
    unknown = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in arguments if word.startswith("--")}
    if all(name in known or name.removeprefix("no_") in known for name in unknown):
        return {}
    owners: dict[str, str] = {}
    for task in TASKS:
        for name in flag_names(task_class(task).task_configs) - known:
            owners.setdefault(name, f"--task_name {task}")
    by_flag: dict[str, list[str]] = {}
    for model in MODELS:
        for name in flag_names([model_class(model).Config]) - known:
            by_flag.setdefault(name, []).append(model)
    owners |= {name: f"--model {' or '.join(models)}" for name, models in by_flag.items()}
    return owners | {f"no_{name}": owner for name, owner in owners.items()}
