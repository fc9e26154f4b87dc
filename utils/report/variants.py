"""Tells runs of one model apart by the flags that differ between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from utils.report.finished_runs import Run


def variants(runs: Sequence[Run]) -> dict[Run, str]:
    """Run -> its flags as short text ("text_branch=none"); empty for a model with its default flags.

    A flag is named if it differs within one cell (same task, data, look-back, horizon, percent and model), so recipes
    that differ between data sets are no variants. A switch or a choice of the model that is not at its default is
    always named, if config.json records the defaults ("model_defaults"). Flags at their default are not named; without
    "model_defaults" the default is the value in the runs whose command does not give the flag.
    """
    texts: dict[Run, str] = {}
    for model in {run.metrics["model"] for run in runs}:
        of_model = [run for run in runs if run.metrics["model"] == model]
        names = sorted(_differing_within_a_cell(of_model) | {name for run in of_model for name in _chosen(run)})
        defaults = {name: _default(name, of_model) for name in names}
        for run in of_model:
            flags = _flags(run)
            shown = [_text(name, flags.get(name)) for name in names if flags.get(name) not in defaults[name]]
            texts[run] = ", ".join(shown)
    return texts


def _flags(run: Run) -> dict[str, Any]:
    """The flags that determine the result: those that config.json gives no other role."""
    config, roles = run.config, run.config.get("flag_roles", {})
    parts = [config.get("data_config", {}), config.get("train_config", {}), config.get("model_config", {})]
    flags = {name: value for part in parts for name, value in part.items() if name not in roles}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def _differing_within_a_cell(runs: Sequence[Run]) -> set[str]:
    keys = ("task_name", "features", "seq_len", "pred_len", "percent", "data")
    cells = [str([run.metrics.get(key) for key in keys]) for run in runs]
    flags = pd.DataFrame([{name: repr(value) for name, value in _flags(run).items()} for run in runs])
    num_values = flags.fillna(repr(None)).groupby(cells).nunique()
    return set(num_values.columns[(num_values > 1).any()])


def _chosen(run: Run) -> set[str]:
    """Switches and choices of the model that are not its default; which LLM it reads is told by labels instead."""
    defaults, flags = run.config.get("model_defaults", {}), run.config.get("model_config", {})
    return {
        name
        for name, value in flags.items()
        if isinstance(value, bool | str) and name in defaults and value != defaults[name] and name[:4] != "llm_"
    }


def _default(name: str, runs: Sequence[Run]) -> list[Any]:
    """The flag's default as a list: as recorded, or of a run whose command does not give it; empty if unknown."""
    recorded = [found for run in runs if name in (found := run.config.get("model_defaults", {}))]
    if recorded:
        return [recorded[0][name]]
    return [_flags(run).get(name) for run in runs if not _is_given(name, run)][:1]


def _is_given(name: str, run: Run) -> bool:
    words = [word.partition("=")[0] for word in run.config.get("command", [])]
    return f"--{name}" in words or f"--no_{name}" in words


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return f"{name}={value}"
