"""What tells the runs of one model apart: names of one's own, flags that differ from the recipe, edited code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from utils.report.finished_runs import Run

PUBLISHED = "published"
EDITED = "edited"
# Runs that agree in these are of one cell of a table.
CELL_KEYS = ("task_name", "features", "seq_len", "pred_len", "percent", "data")


def variants(runs: Sequence[Run]) -> dict[Run, str]:
    """Run -> what makes it a variant of its model ("lastvalue, text_branch=none, edited"); empty for the model itself.

    In this order: `--model_id` and `--des`; the recipe's name, if it is not "published" and the model has several
    recipes here; the flags that differ from the recipe; "edited", if source files of the run were not those of the
    commit.
    """
    texts: dict[Run, str] = {}
    for model in {run.metrics["model"] for run in runs}:
        of_model = [run for run in runs if run.metrics["model"] == model]
        flags = _changed_flags(of_model)
        several = len({_recipe(run) for run in of_model} - {""}) > 1
        for run in of_model:
            train = run.config.get("train_config", {})
            recipe = [_recipe(run)] if several and _recipe(run) not in ("", PUBLISHED) else []
            edited = [EDITED] if (run.config.get("source") or {}).get("edited") else []
            texts[run] = ", ".join(
                str(part) for part in [train.get("model_id"), train.get("des"), *recipe, *flags[run], *edited] if part
            )
    return texts


def _changed_flags(runs: Sequence[Run]) -> dict[Run, list[str]]:
    """Run -> the flags in which it differs from its recipe, as short texts.

    A run with `--recipe` recorded them. A run without is compared with the recipe's own run in its cell if there is
    one, and otherwise as `_flags_without_recipe` says; only the runs of such cells are compared with each other.
    """
    found: dict[Run, list[str]] = {}
    references: dict[str, Run] = {}
    for run in runs:
        changes = run.config.get("recipe_changes")
        if changes is not None:
            found[run] = [_text(name, value) for name, value in sorted(changes.items())]
            if not changes and _recipe(run) == PUBLISHED:
                references[_cell(run)] = run
    others = [run for run in runs if run not in found]
    for run in others:
        if _cell(run) in references:
            flags, recipe = _flags(run), _flags(references[_cell(run)])
            names = sorted(name for name, value in flags.items() if name in recipe and value != recipe[name])
            found[run] = [_text(name, flags[name]) for name in names]
    return found | _flags_without_recipe([run for run in others if run not in found])


def _flags_without_recipe(runs: Sequence[Run]) -> dict[Run, list[str]]:
    """Run -> the flags that make it a variant, for runs that say no recipe.

    A flag is named if it differs within one cell, so settings that differ between data sets are no variants. A switch
    or a choice of the model that is not at its default is always named, if config.json records the defaults
    ("model_defaults"). Flags at their default are not named; without "model_defaults" the default is the value in the
    runs whose command does not give the flag.
    """
    if not runs:
        return {}
    names = sorted(_differing_within_a_cell(runs) | {name for run in runs for name in _chosen(run)})
    defaults = {name: _default(name, runs) for name in names}
    return {
        run: [_text(name, flags[name]) for name in names if name in flags and flags[name] not in defaults[name]]
        for run, flags in ((run, _flags(run)) for run in runs)
    }


def _recipe(run: Run) -> str:
    return str(run.config.get("train_config", {}).get("recipe", ""))


def _cell(run: Run) -> str:
    return str([run.metrics.get(key) for key in CELL_KEYS])


def _flags(run: Run) -> dict[str, Any]:
    """The flags that determine the result: those that config.json gives no other role."""
    config, roles = run.config, run.config.get("flag_roles", {})
    parts = [config.get("data_config", {}), config.get("train_config", {}), config.get("model_config", {})]
    flags = {name: value for part in parts for name, value in part.items() if name not in roles}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def _differing_within_a_cell(runs: Sequence[Run]) -> set[str]:
    flags = pd.DataFrame([{name: repr(value) for name, value in _flags(run).items()} for run in runs])
    # A flag that some runs have not recorded was added later; what it is without being given, nobody can say here.
    num_values = flags.groupby([_cell(run) for run in runs]).nunique()
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
