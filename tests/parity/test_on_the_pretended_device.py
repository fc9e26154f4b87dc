"""The golden files on the pretended device: what a GPU's code path computes, with the CPU's arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parity.__main__ import MODULES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", MODULES)
def test_every_golden_comparison_holds_there_too(model, shared):
    # In a process of its own: the device stays registered with torch.
    command = [sys.executable, "-m", "tests.parity", model, str(shared / "golden" / f"{model}_small_a.npz")]
    done = subprocess.run(
        [*command, "--device", "pretend"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "comparisons within tolerance" in done.stdout
