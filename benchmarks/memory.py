"""Memory of this process in GiB: on a CPU its resident size, on a GPU what torch holds there."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from benchmarks.timing import Work

STEPS = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def held(device: torch.device) -> float:
    """What is held now."""
    gc.collect()
    return (torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident("VmRSS")) / 2**30


def peak(device: torch.device) -> float:
    """The most that was held since `forget_peak`."""
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")) / 2**30


def forget_peak(device: torch.device) -> None:
    """Lets the peak count from now on: building a model, for one, takes more for a moment than holding it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        CLEAR.write_text(RESET_PEAK)


def memory_of_steps(step: Work, device: torch.device) -> dict[str, float]:
    """What is held before the first of a few steps, and their peak."""
    before = held(device)
    forget_peak(device)
    for _ in range(STEPS):
        step()
    return {"before": before, "peak": peak(device)}


def _resident(name: str) -> int:
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:")
