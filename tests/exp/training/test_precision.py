"""bfloat16 on CPUs that have no product for it: the run goes on in float32 and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exp.runs import flags

ROOT = Path(__file__).resolve().parents[3]
OLDER_CPUS = ("AVX2", "SSE41")


@pytest.mark.parametrize("instructions", OLDER_CPUS)
def test_balm_and_calf_train_with_bf16_on_a_cpu_that_cannot_multiply_it(tmp_path, instructions):
    """oneDNN is told to use no newer instructions, in a process of its own: it reads the variable once."""
    commands = [flags(tmp_path, "--precision", "bf16", "--fast_dev_run", model=model) for model in ("BALM", "CALF")]
    program = (
        "import json, sys, run\nfrom accelerate.state import AcceleratorState\n"
        "for command in json.load(sys.stdin):\n"
        "    code = run.main(command)\n    AcceleratorState._reset_state(reset_partial_state=True)\n"
        "    assert code == 0, code\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(commands), capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no bfloat16 products, so it computes in float32 and is no faster") == 1
    found = [json.loads(path.read_text()) for path in sorted((tmp_path / "results").glob("*/metrics.json"))]
    assert {metrics["model"]: metrics["precision"] for metrics in found} == {"BALM": "fp32", "CALF": "fp32"}
