"""Peak memory of a few steps, in GiB."""

from __future__ import annotations

import torch

from benchmarks.measuring.timing import Work
from exp.training.memory import held_bytes, recent_peak_bytes, reset_peak

STEPS = 3
GIB = 2**30


def memory_of_steps(step: Work, device: torch.device) -> dict[str, float]:
    """Memory in use before the first step, and the peak over a few steps, in GiB."""
    before = held_bytes(device) / GIB
    reset_peak(device)
    for _ in range(STEPS):
        step()
    return {"before": before, "peak": recent_peak_bytes(device) / GIB}
