"""Several ways of doing the same work, timed in turn so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from benchmarks.machine import synchronise

Work = Callable[[], object]


def time_in_turn(ways: Mapping[str, Work], *, rounds: int, warmup: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each way in each round, after `warmup` rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, work in ways.items():
            synchronise(device)
            began = time.perf_counter()
            work()
            synchronise(device)
            if number >= warmup:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times faster: the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
