"""Several ways of doing the same work, timed in turn so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]


def synchronise(device: torch.device) -> None:
    """Waits for a GPU's queue; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_in_turn(
    ways: Mapping[str, Work], *, rounds: int, warmup: int, device: torch.device, times: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way in each round, the mean of `times`, after `warmup` rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, work in ways.items():
            synchronise(device)
            began = time.perf_counter()
            for _ in range(times):
                work()
            synchronise(device)
            if number >= warmup:
                seconds[name].append((time.perf_counter() - began) / times)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times faster: the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
