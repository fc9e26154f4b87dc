"""Checks of what many runs need, made once before the first of them starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data_provider.data_factory import file_of
from data_provider.datasets import M4
from exp.grid.commands import GridRun
from layers.llm.sources import ask_hub, find_source

RANDOM = "random"


def _find_llm(name: str) -> None:
    source = find_source(name)
    if not source.is_local:
        try:
            ask_hub(source.location)
        except OSError as error:
            raise OSError(f"--llm_model {name} is not in the cache and cannot be fetched: {error}") from error


def missing_inputs(runs: Sequence[GridRun]) -> list[str]:
    """One line for each data file and language model that is missing, with the number of runs that need it."""
    needs: dict[str, tuple[Callable[[], object], int]] = {}
    for run in runs:
        settings = run.settings
        data = settings.data
        checks: dict[str, Callable[[], object]] = {}
        if data.data != M4:
            checks[f"data {data.data} {data.root_path} {data.data_path}"] = lambda data=data: file_of(data)
        llm = getattr(settings.model, "llm_model", RANDOM)
        if llm != RANDOM:
            checks[f"LLM {llm}"] = lambda llm=llm: _find_llm(llm)
        for name, check in checks.items():
            needs[name] = (check, needs.get(name, (check, 0))[1] + 1)
    lines = []
    for check, count in needs.values():
        try:
            check()
        except (ValueError, OSError) as error:
            lines.append(f"{error} ({count} of {len(runs)} runs need it)")
    return lines
