"""Peak memory of one way of doing the work: on a CPU in a process of its own, on a GPU from torch's own count."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.cases import CaseConfig, training_step

STEPS = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def measure_here(config: CaseConfig, way: str) -> dict[str, float]:
    """In GiB: what is held before the first training step of `way`, and the peak of a few of them."""
    step = training_step(config, way)
    gc.collect()
    if config.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        # Building a model takes more for a moment than holding it: the peak is counted from here on.
        CLEAR.write_text(RESET_PEAK)
        before = _resident("VmRSS")
    for _ in range(STEPS):
        step()
    peak = torch.cuda.max_memory_allocated() if config.device == "cuda" else _resident("VmHWM")
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


def _resident(name: str) -> int:
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:")
