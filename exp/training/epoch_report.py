"""What is told of an epoch: curves for a tracker, and a line for the log."""

from __future__ import annotations

from typing import Any

from utils.progress import duration


def rows_per_second(timing: list[dict[str, Any]]) -> float:
    """Training speed of the last epoch of `timing`, whose entries count rows and seconds from the beginning."""
    before, last = {"rows": 0, "seconds": 0.0}, timing[-1]
    if len(timing) > 1:
        before = timing[-2]
    return (last["rows"] - before["rows"]) / max(last["seconds"] - before["seconds"], 1e-9)


def curves(record: dict[str, Any], timing: list[dict[str, Any]]) -> dict[str, float]:
    """The numbers of an epoch's record under names that a tracker groups by their first part."""
    return {
        **{f"epoch_train/{name}": value for name, value in record["train"].items()},
        **{f"validation/{name}": value for name, value in record["validation"].items()},
        "schedule/learning_rate": record["learning_rate"],
        "schedule/rows_per_second": rows_per_second(timing),
        "epoch": record["epoch"],
    }


def errors_line(record: dict[str, Any], *, improved: bool) -> str:
    """Losses, validation errors and learning rate as a person reads them."""
    terms = ", ".join(f"{name} {value:.4f}" for name, value in record["train"].items())
    found = ", ".join(f"{name} {value:.4f}" for name, value in record["validation"].items())
    return f"train {terms} | validation {found}{' (best)' if improved else ''} | rate {record['learning_rate']:.3g}"


def pace_line(timing: list[dict[str, Any]], *, seconds_left: float) -> str:
    """The speed of the last epoch, and the time left if no epoch is saved by early stopping."""
    left = f", {duration(seconds_left)} left at most" if seconds_left else ""
    return f", {rows_per_second(timing):.0f} rows/s{left}"
