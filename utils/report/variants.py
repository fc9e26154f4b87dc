"""Tells runs of one model apart: which of its flags differ between runs that are otherwise of the same cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from utils.finished_runs import Run

# Flags that name, place or speed up a run, or are shown on their own in every table.
_NOT_A_VARIANT = frozenset(
    {"seed", "seeds", "itr", "is_training", "model_id", "des", "device", "output_dir", "overwrite", "checkpoint_steps",
     "row_memory_mb", "eval_batch_size", "deterministic", "compile", "fast_dev_run", "data", "root_path", "data_path",
     "features", "seq_len", "pred_len", "percent"}
)  # fmt: skip


def variants(runs: Sequence[Run]) -> dict[Run, str]:
    """Run -> short text of its flags ("text_branch=none"), empty for a model's default and where nothing differs.

    A flag counts when it differs within one cell (same task, data, look-back, horizon, percent and model): recipes that
    differ between data sets are no variants. A switch or a choice of the model that is not the default counts always,
    if config.json says the defaults ("model_defaults"). A flag is left unsaid where it has its default; without
    "model_defaults" that is the value of the runs whose command line does not give it.
    """
    by_model: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_model[run.metrics["model"]].append(run)
    texts: dict[Run, str] = {}
    for of_model in by_model.values():
        names = sorted(_differing_within_a_cell(of_model) | {name for run in of_model for name in _chosen(run)})
        defaults = {name: _default(name, of_model) for name in names}
        for run in of_model:
            flags = _flags(run)
            said = [_text(name, flags.get(name)) for name in names if flags.get(name) not in defaults[name]]
            texts[run] = ", ".join(said)
    return texts


def _flags(run: Run) -> dict[str, Any]:
    parts = [run.config.get(part) or {} for part in ("data_config", "train_config", "model_config")]
    flags = {name: value for part in parts for name, value in part.items() if name not in _NOT_A_VARIANT}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def _differing_within_a_cell(runs: Sequence[Run]) -> set[str]:
    cells: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        keys = ("task_name", "features", "seq_len", "pred_len", "percent")
        cells[(run.data, *(run.metrics.get(key) for key in keys))].append(_flags(run))
    return {
        name
        for members in cells.values()
        for name in set().union(*members)
        if any(flags.get(name) != members[0].get(name) for flags in members)
    }


def _chosen(run: Run) -> set[str]:
    """Switches and choices of the model that are not its default; which LLM it reads is told by labels instead."""
    defaults, flags = run.config.get("model_defaults") or {}, run.config.get("model_config") or {}
    return {
        name
        for name, value in flags.items()
        if isinstance(value, bool | str) and name in defaults and value != defaults[name] and name[:4] != "llm_"
    }


def _default(name: str, runs: Sequence[Run]) -> list[Any]:
    """The flag's default as a list: recorded, or of a run that was started without it; empty if neither is known."""
    recorded = [found for run in runs if name in (found := run.config.get("model_defaults", {}))]
    if recorded:
        return [recorded[0][name]]
    return [_flags(run).get(name) for run in runs if not _is_given(name, run)][:1]


def _is_given(name: str, run: Run) -> bool:
    words = [str(word).partition("=")[0] for word in run.config.get("command") or []]
    return f"--{name}" in words or f"--no_{name}" in words


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return f"{name}={value}"
