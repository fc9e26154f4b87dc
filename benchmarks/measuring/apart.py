"""Run one variant of a benchmark in its own process, so that memory and precision settings do not interfere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def run_apart(module: str, arguments: Sequence[str], way: str) -> dict[str, Any]:
    """Run `python -m MODULE ... --only WAY` and parse the JSON in its last line; RuntimeError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--only", way], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} --only {way} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
