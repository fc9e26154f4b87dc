"""Peak memory of one way of doing the work: on a CPU in a process of its own, on a GPU from torch's own count."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence

import torch

from benchmarks.cases import CaseConfig, training_step

STEPS = 3


def measure_here(config: CaseConfig, way: str) -> dict[str, float]:
    """Peak in GiB of a few training steps of `way`, and what was held before the first."""
    step = training_step(config, way)
    if config.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(STEPS):
        step()
    peak = (
        torch.cuda.max_memory_allocated()
        if config.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"before": before / 2**30, "peak": peak / 2**30}


def measure_apart(arguments: Sequence[str], way: str) -> dict[str, float]:
    """The same, measured by `python -m benchmarks.step ... --memory_of WAY` in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.step", *arguments, "--memory_of", way],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])
