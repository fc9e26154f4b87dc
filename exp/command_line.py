"""Command line of run.py: parse the flags of the chosen task and model, and run every seed."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, stdev
from typing import Any

from transformers.hf_argparser import HfArg

from data_provider.config import DataConfig
from exp import TASKS, task_class
from exp.config import TrackConfig, TrainConfig
from exp.exp_basic import CheckpointTask, Experiment, FinishedRun, Settings
from exp.training.processes import is_rank_zero, messages_of_all
from models import MODELS, model_class
from utils.flags.parsing import flag_names, parse_flags, without_flags

logger = logging.getLogger(__name__)
JOINT_TASK = "joint_forecast"
COMMON = (DataConfig, TrainConfig, TrackConfig)


@dataclass(frozen=True)
class TaskSelection:
    """The task; it determines which other flags exist."""

    task_name: str = HfArg(default="long_term_forecast", help=f"One of {', '.join(TASKS)}")


@dataclass(frozen=True)
class Selection(TaskSelection):
    """Task and model; for training, both determine which other flags exist."""

    model: str = HfArg(default="BALM", help=f"One of {', '.join(MODELS)}, or tslib:NAME")


class WrongInput(Exception):
    """Invalid flags or input files; nothing has been written."""


def run_command(arguments: Sequence[str]) -> Iterator[str]:
    """Run the task of the flags. Yields a closing text per run and, for several seeds, one with the mean over them.

    Raises WrongInput for invalid flags or files.
    """
    try:
        task = task_class(_select(arguments).task_name)
        if issubclass(task, CheckpointTask):
            parsed = task(*_parse_checkpoint_task(task, arguments))
        else:
            parsed = parse_command(arguments)
    except (ValueError, OSError) as error:
        raise WrongInput(str(error) if is_rank_zero() else "") from error
    if isinstance(parsed, CheckpointTask):
        try:
            result = parsed.run()
        except ValueError as error:
            # The values of a table, such as one that leaves the range of numbers or dates only in the forecast.
            raise WrongInput(str(error)) from error
        yield parsed.closing_text(result)
    else:
        yield from _run_all_seeds(parsed)


def parse_command(arguments: Sequence[str]) -> Settings:
    """Parse the flags of a command that trains. Raises one ValueError for all invalid flags."""
    settings = _parse(arguments)
    if not settings.train.recipe:
        return settings
    # A script's flags stand before --recipe NAME, and what a person adds after it.
    end = max(place for place, word in enumerate(arguments) if word.partition("=")[0] == "--recipe")
    end += 1 if "=" in arguments[end] else 2
    recipe, chosen = _values_that_count(_parse(arguments[:end])), _values_that_count(settings)
    changes = {name: value for name, value in chosen.items() if recipe.get(name) != value}
    return replace(settings, recipe_changes=changes)


def _values_that_count(settings: Settings) -> dict[str, Any]:
    """The flags without a role: those that make a variant of a model."""
    values = {name: value for config in settings.configs for name, value in asdict(config).items()}
    return {name: value for name, value in values.items() if name not in settings.flag_roles()}


def _parse(arguments: Sequence[str]) -> Settings:
    chosen = _select(arguments)
    task, model = task_class(chosen.task_name), model_class(chosen.model)
    if issubclass(task, CheckpointTask):
        raise ValueError(
            f"--task_name {chosen.task_name} forecasts with a finished run and trains none: give it to run.py"
        )
    common = (without_flags(kind, flag_names([model.Config])) for kind in COMMON)
    config_types = (Selection, *common, model.Config, *task.task_configs)
    _, data, train, track, model_config, *task_configs = parse_flags(
        config_types,
        arguments,
        belongs_to=_owners(flag_names(config_types), arguments),
        description="Train a forecaster, test it once, and leave a complete run folder. These are the flags of "
        f"--model {chosen.model} --task_name {chosen.task_name}; name another model or task before --help to see its "
        "own.",
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


def _parse_checkpoint_task(task: type[CheckpointTask], arguments: Sequence[str]) -> list[Any]:
    """Parse the flags of a task on a checkpoint. Raises ValueError like `parse_command`."""
    config_types = (TaskSelection, *task.task_configs)
    known = flag_names(config_types)
    of_training = dict.fromkeys(flag_names((Selection, *COMMON)) - known, "training: the checkpoint says it")
    belongs_to = _owners(known, arguments) | of_training
    _, *configs = parse_flags(config_types, arguments, belongs_to=belongs_to, description=task.description)
    return configs


def _select(arguments: Sequence[str]) -> Selection:
    """Task and model: --task_name and --model, and --data, of which several make the task a joint one."""
    defaults = Selection()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task_name", "--task-name", nargs="?", default=defaults.task_name)
    parser.add_argument("--model", nargs="?", default=defaults.model)
    parser.add_argument("--data", nargs="?", default="")
    chosen, _ = parser.parse_known_args(arguments)
    for name, choices in (("task_name", TASKS), ("model", MODELS)):
        if not getattr(chosen, name):
            raise ValueError(f"--{name} needs a value: {', '.join(choices)}")
    if chosen.task_name == defaults.task_name and "," in (chosen.data or ""):
        chosen.task_name = JOINT_TASK
    return Selection(task_name=chosen.task_name, model=chosen.model)


def _owners(known: set[str], arguments: Sequence[str]) -> dict[str, str]:
    """Flag -> the models or task it belongs to, for flags that the chosen model and task lack."""
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


def _run_all_seeds(settings: Settings) -> Iterator[str]:
    """Run each seed, skipping finished ones if there are several, and yield the closing texts."""
    seeds, all_metrics, has_trained = settings.train.all_seeds, [], False
    for seed in seeds:
        try:
            experiment = _build(settings.with_seed(seed), is_one_of_several=len(seeds) > 1)
        except WrongInput as error:
            if not has_trained:
                raise
            # Not "nothing was written" any more.
            raise OSError(f"seed {seed}: {error}" if str(error) else "") from error
        if isinstance(experiment, FinishedRun):
            logger.info("seed %d is finished already: %s", seed, experiment.folder.path)
            all_metrics.append(dict(experiment.folder.own_metrics()))
        else:
            metrics, has_trained = experiment.run(), True
            all_metrics.append(metrics)
            if experiment.runtime.is_main:
                yield experiment.closing_text(metrics)
    if len(seeds) > 1 and is_rank_zero():
        yield _mean_over_seeds(seeds, all_metrics)


def _build(settings: Settings, *, is_one_of_several: bool) -> Experiment | FinishedRun:
    """Build the experiment, or find its finished run. Raises WrongInput on all ranks if one rank fails."""
    built, reason = None, ""
    try:
        experiment = task_class(settings.task_name)
        assert issubclass(experiment, Experiment)
        built = experiment(settings)
    except FinishedRun as finished:
        built, reason = finished, "" if is_one_of_several else str(finished)
    except (ValueError, OSError) as error:
        reason = str(error) or type(error).__name__
    reasons = messages_of_all(reason)
    if reasons:
        raise WrongInput("; ".join(reasons) if is_rank_zero() else "")
    if len(messages_of_all(type(built).__name__)) > 1:
        raise WrongInput(
            f"--output_dir {settings.train.output_dir} holds a finished run for some processes only: name a folder "
            "that every machine of this run sees"
        )
    assert built is not None
    return built


def _mean_over_seeds(seeds: list[int], all_metrics: list[dict[str, Any]]) -> str:
    """Mean and sample standard deviation of the errors over the seeds, a line per test set."""
    lines = [f"over the seeds {', '.join(map(str, seeds))} (mean ± standard deviation):"]
    tests = [metrics["tests"] for metrics in all_metrics]
    common = [name for name in tests[0] if all(name in test for test in tests)]
    for name in common:
        found = []
        for error in tests[0][name]:
            values = [test[name].get(error) for test in tests]
            if not error.endswith("_original") and all(isinstance(value, float) for value in values):
                found.append(f"{error} {mean(values):.4f} ± {stdev(values):.4f}")
        lines.append(f"  {name}: {', '.join(found)}")
    return "\n".join(lines if common else [*lines, "  the runs have no test in common"])
