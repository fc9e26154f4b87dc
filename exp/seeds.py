"""What a command runs: one run per seed, then their mean and spread; or a task of a finished run, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

from exp import task_class
from exp.checkpoint_task import CheckpointTask
from exp.command_line import parse_checkpoint_task, parse_command, selected_task
from exp.exp_basic import Experiment, FinishedRun, Settings
from exp.training.processes import is_rank_zero, messages_of_all

logger = logging.getLogger(__name__)


class WrongInput(Exception):
    """The flags or files cannot make an experiment; nothing has been written."""


def run_command(arguments: Sequence[str]) -> Iterator[str]:
    """Runs what the flags ask for, each seed of a training and a task of a finished run once; yields closing texts.

    Raises WrongInput for what cannot be run.
    """
    try:
        task = selected_task(arguments)
        checkpoint_task = task(*parse_checkpoint_task(task, arguments)) if issubclass(task, CheckpointTask) else None
    except (ValueError, OSError) as error:
        raise WrongInput(str(error)) from error
    if checkpoint_task is None:
        yield from run_all_seeds(arguments)
    else:
        yield checkpoint_task.closing_text(checkpoint_task.run())


def run_all_seeds(arguments: Sequence[str]) -> Iterator[str]:
    """Runs every seed that the flags ask for; yields a closing text after each and, for several, one over all.

    Finished seeds of several are kept and counted. Raises WrongInput for what cannot be run.
    """
    try:
        settings = parse_command(arguments)
    except ValueError as error:
        raise WrongInput(str(error) if is_rank_zero() else "") from error
    seeds, all_metrics = settings.train.all_seeds, []
    for seed in seeds:
        experiment = _build(settings.with_seed(seed), is_one_of_several=len(seeds) > 1)
        if isinstance(experiment, FinishedRun):
            logger.info("seed %d is finished already: %s", seed, experiment.folder.path)
            all_metrics.append(experiment.folder.read_metrics())
        else:
            metrics = experiment.run()
            all_metrics.append(metrics)
            if experiment.runtime.is_main:
                yield experiment.closing_text(metrics)
    if len(seeds) > 1 and is_rank_zero():
        yield spread(seeds, all_metrics)


def _build(settings: Settings, *, is_one_of_several: bool) -> Experiment | FinishedRun:
    """The experiment in every process, or the reasons why not in all: the first process has the words."""
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


def spread(seeds: list[int], all_metrics: list[dict[str, Any]]) -> str:
    """A line per test set: mean and sample standard deviation of the errors over the seeds."""
    lines = [f"over the seeds {', '.join(map(str, seeds))} (mean ± standard deviation):"]
    tests = [metrics["tests"] for metrics in all_metrics]
    for name in tests[0]:
        found = []
        for error, value in tests[0][name].items():
            if isinstance(value, float) and not error.endswith("_original"):
                values = [test[name][error] for test in tests]
                found.append(f"{error} {mean(values):.4f} ± {stdev(values):.4f}")
        lines.append(f"  {name}: {', '.join(found)}")
    return "\n".join(lines)
