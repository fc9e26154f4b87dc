"""Every model trained, tested and used on the pretended device: `python -m tests.pretend_device [CASE ...]`.

Exit code 1, and a line for each mixed device, missing kernel, wait of the host where none is allowed, and step with
more launches than are committed in `cases.LAUNCHES`. `--counts` prints the launches instead of comparing them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch

import run
from exp.training.step import TrainingStep
from tests.exp.m4_files import write_m4
from tests.exp.runs import write_table
from tests.pretend_device.cases import KNOWN_PLACE, KNOWN_WAITS, LAUNCHES, MODELS, OTHERS, command
from tests.pretend_device.device import Kind, PretendedDevice
from tests.pretend_device.kept_rows import wrong_rows
from tests.pretend_device.planted import overlooked, reading_its_loss
from tests.pretend_device.runs import BATCH, EPOCH, EVALUATION, STEP, library_on

EVERYWHERE: tuple[Kind, ...] = ("mixed devices", "missing kernel")
STEPS = 2
# Waits per training epoch outside of its steps: the losses are read, once for all steps of a trial run.
LOSS_WATCH = 1


def main(arguments: Sequence[str]) -> int:
    """Run the cases and print the findings."""
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    chosen = [word for word in arguments if not word.startswith("--")] or [*MODELS, *OTHERS]
    began, findings = time.perf_counter(), overlooked()
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv")
        write_m4(Path(folder))
        findings += _overlooked_in_a_run(Path(folder))
        findings += wrong_rows(Path(folder) / "table.csv")
        print("\n".join(findings), end="\n" if findings else "", flush=True)
        for name in chosen:
            found = _findings_of(name, Path(folder), prints_counts="--counts" in arguments)
            print("\n".join(found), end="\n" if found else "", flush=True)
            findings += found
    print(f"{len(chosen)} cases, {len(findings)} findings in {time.perf_counter() - began:.0f} s")
    return 1 if findings else 0


def _findings_of(name: str, folder: Path, *, prints_counts: bool) -> list[str]:
    """What is wrong with a case, a line each."""
    gpu, failure = _run(name, folder)
    found = [*failure, *_findings(gpu, name)]
    launches, most = len(gpu.of("launch", STEP)) // STEPS, LAUNCHES.get(name, 0)
    if prints_counts:
        print(f'    "{name}": {launches},', flush=True)
    elif launches > most:
        found.append(f"{launches} launches in a training step, committed are {most}")
    return [f"{name}: {line}" for line in found]


def _run(name: str, folder: Path) -> tuple[PretendedDevice, list[str]]:
    """Train and test, and forecast with the result; the device with its events, and a line if the run failed."""
    said = io.StringIO()
    with PretendedDevice() as gpu, library_on(gpu), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = run.main(command(name, folder))
            if code == 0 and name in MODELS:
                (found,) = (folder / name).iterdir()
                table, output = folder / "table.csv", folder / f"{name}.csv"
                asked = ["--checkpoint", str(found), "--data_path", str(table), "--output", str(output)]
                code = run.main(["--task_name", "predict", *asked])
        except Exception as error:
            return gpu, [f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"]
    return gpu, [f"exit code {code}: {said.getvalue().strip().splitlines()[-1]}"] if code else []


def _findings(gpu: PretendedDevice, name: str) -> list[str]:
    found = Counter((kind, event.operation, event.where, event.detail) for kind in EVERYWHERE for event in gpu.of(kind))
    waits = Counter(
        ("host wait", event.operation, event.where, f"{event.detail}, in a {part}")
        for part in (STEP, BATCH, EVALUATION)
        for event in gpu.of("host wait", part)
    )
    between = gpu.of("host wait", EPOCH)
    if len(between) > LOSS_WATCH:
        waits.update(("host wait", event.operation, event.where, f"{event.detail}, in a {EPOCH}") for event in between)
    known = (KNOWN_PLACE, *([KNOWN_WAITS[name]] if name in KNOWN_WAITS else []))
    return [
        f"{kind}: {operation} at {where} ({detail}), {count} times"
        for (kind, operation, where, detail), count in (found + waits).items()
        if kind != "host wait" or not any(place in where for place in known)
    ]


def _overlooked_in_a_run(folder: Path) -> list[str]:
    """A line if a training step that reads its loss is not found out."""
    with patch.object(TrainingStep, "__call__", reading_its_loss(TrainingStep.__call__)):
        gpu, failure = _run("NLinear", folder)
    missed = [] if _findings(gpu, "NLinear") else ["planted mistake in a run: a step that reads its loss"]
    with contextlib.suppress(FileNotFoundError):
        (folder / "NLinear").rename(folder / "planted")
    return [*failure, *missed]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
