"""Registry of the tasks; the module of a task is imported only when it is chosen."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exp.exp_basic import CheckpointTask, Experiment

TASKS: dict[str, str] = {
    "long_term_forecast": "exp.exp_long_term_forecast:LongTermForecast",
    "joint_forecast": "exp.exp_joint_forecast:JointForecast",
    "zero_shot_forecast": "exp.exp_zero_shot_forecast:ZeroShotForecast",
    "short_term_forecast": "exp.exp_short_term_forecast:ShortTermForecast",
    "predict": "exp.exp_predict:Predict",
}


def task_class(name: str) -> type[Experiment] | type[CheckpointTask]:
    """The class of the task `name`. Raises ValueError for an unknown task."""
    if name not in TASKS:
        nearest = difflib.get_close_matches(name, TASKS, n=2, cutoff=0.3) or list(TASKS)
        raise ValueError(f"--task_name {name} is unknown; there are {', '.join(TASKS)} (nearest: {nearest[0]})")
    module, _, attribute = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
