"""What a run of an arm costs, from runs beside which other work ran."""

from __future__ import annotations

from utils.verdict.collection import Frame


def seconds_of(runs: Frame) -> float:
    """Seconds of the mean number of steps at the pace of the fastest seed, and of the fastest test."""
    pace, steps = runs["seconds_per_step"].astype(float).min(), runs["steps"].astype(float).mean()
    return float(pace * steps + runs["seconds_test"].astype(float).min())
