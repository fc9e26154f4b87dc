"""Peak memory of this process, on the host and on its GPU."""

from __future__ import annotations

import resource
import sys

import torch


def peak_memory_bytes(device: torch.device) -> dict[str, int]:
    """Largest resident size of the process so far, and largest memory that torch held on its GPU (0 on a CPU)."""
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"host": host, "device": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0}
