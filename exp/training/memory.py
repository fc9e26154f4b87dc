"""Memory of this process: on a CPU its resident size, on a GPU what torch holds there."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from exp.training.runtime import peak_memory_bytes

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def held_bytes(device: torch.device) -> int:
    """What is held now."""
    gc.collect()
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmRSS")


def recent_peak_bytes(device: torch.device) -> int:
    """The most that was held since `reset_peak` (outside Linux, on a CPU, since the process began)."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmHWM")


def reset_peak(device: torch.device) -> None:
    """Lets `recent_peak_bytes` count from now on: building a model takes more for a moment than holding it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text(RESET_PEAK)


def _resident_bytes(name: str) -> int:
    """A size that Linux reports of this process; elsewhere the largest size so far."""
    if not STATUS.exists():
        return peak_memory_bytes(torch.device("cpu"))["host"]
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:")
