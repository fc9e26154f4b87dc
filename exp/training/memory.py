"""Memory use of this process: on a CPU its resident size, on a GPU what torch has allocated."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from exp.training.runtime import peak_memory_bytes

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def held_bytes(device: torch.device) -> int:
    """Current memory use."""
    gc.collect()
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmRSS")


def recent_peak_bytes(device: torch.device) -> int:
    """Peak memory use since `reset_peak` (on a CPU outside Linux, since the start of the process)."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmHWM")


def reset_peak(device: torch.device) -> None:
    """Reset the peak of `recent_peak_bytes`, to leave out the higher peak of building a model."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text(RESET_PEAK)


def _resident_bytes(name: str) -> int:
    """The entry `name` of /proc/self/status on Linux; elsewhere the peak size so far."""
    if not STATUS.exists():
        return peak_memory_bytes(torch.device("cpu"))["host"]
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:")
