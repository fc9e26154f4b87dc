"""Timing of several variants of the same work in turn, so that a change in machine speed affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work; no effect on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_in_turn(
    ways: Mapping[str, Work], *, rounds: int, warmup: int, device: torch.device, times: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way in each round (mean of `times` calls), after `warmup` untimed rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, work in ways.items():
            measured = _seconds(work, device, times)
            if number >= warmup:
                seconds[name].append(measured)
    return seconds


def _seconds(work: Work, device: torch.device, times: int) -> float:
    """Mean seconds of `times` calls: on a GPU between two events of its own, so without the host's way to it."""
    synchronise(device)
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / times
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Speed-up: median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
