"""Runs one way of a benchmark in a process of its own, where neither memory nor precision of another is in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def run_apart(module: str, arguments: Sequence[str], way: str) -> dict[str, Any]:
    """The JSON that `python -m MODULE ... --only WAY` prints last; RuntimeError with its last words if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--only", way], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} --only {way} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
