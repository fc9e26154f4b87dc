"""Run a queue of commands, a fixed number at a time, each in its own process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exp.grid.commands import GridRun
from utils.signals import PARENT
from utils.terminal import printable

State = Literal["waiting", "running", "finished", "already finished", "failed", "interrupted"]
LOGS = ".grid"
POLL_SECONDS = 0.2
SECONDS_TO_STOP = 60
_TAIL_BYTES = 4096


@dataclass
class Job:
    """A run of the queue and its state."""

    run: GridRun
    state: State = "waiting"
    gpu: str = ""
    log: Path | None = None
    started: float = 0.0
    seconds: float = 0.0
    killed_by: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def last_line(self) -> str:
        """The last line of the log, or what killed the run; empty if there is neither."""
        if self.killed_by:
            name = signal.Signals(self.killed_by).name
            return f"killed by {name}" + (" (out of memory?)" if self.killed_by == signal.SIGKILL else "")
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            lines = re.split(r"[\r\n]+", file.read().decode("utf-8", errors="replace").strip())
        return printable(lines[-1])


def run_queue(
    jobs: Sequence[Job], *, num_jobs: int, gpus: Sequence[str], show: Callable[[Sequence[Job]], None]
) -> bool:
    """Run every waiting job, `num_jobs` at a time. Returns whether all succeeded.

    Each slot uses one of `gpus` (all of them if the list is empty). `show` is called whenever something may have
    changed. On KeyboardInterrupt the running processes get SIGINT and are waited for before it is raised again.
    """
    slots: list[Job | None] = [None] * num_jobs
    waiting = [job for job in jobs if job.state == "waiting"]
    try:
        while waiting or any(slots):
            for place, job in enumerate(slots):
                if job is not None and _has_ended(job):
                    slots[place] = None
                if slots[place] is None and waiting:
                    slots[place] = waiting.pop(0)
                    _start(slots[place], gpus[place % len(gpus)] if gpus else "", num_jobs)  # pyright: ignore
            show(jobs)
            time.sleep(POLL_SECONDS)
    except BaseException:
        _stop([job for job in slots if job is not None])
        show(jobs)
        raise
    return all(job.state in ("finished", "already finished") for job in jobs)


def _start(job: Job, gpu: str, num_jobs: int) -> None:
    job.gpu, job.state, job.started = gpu, "running", time.monotonic()
    folder = job.run.output_dir / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.+-]+", "-", job.run.name)
    job.log = folder / f"{name}_{time.strftime('%Y%m%d-%H%M%S')}_{os.getpid()}.log"
    # A run stops when the queue dies, even if it could not tell it to.
    environment = {**os.environ, PARENT: str(os.getpid())}
    # Divide the cores: processes that each use all of them slow each other down.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_jobs)))
    if gpu:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    with job.log.open("wb") as log:
        job.process = subprocess.Popen(
            [sys.executable, *job.run.words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip


def _has_ended(job: Job) -> bool:
    assert job.process is not None
    code = job.process.poll()
    job.seconds = time.monotonic() - job.started
    if code is None:
        return False
    if code == 0:
        job.state = "finished"
    elif code < 0:
        job.state, job.killed_by = "failed", -code
    else:
        job.state = "already finished" if "holds a finished run" in job.last_line() else "failed"
    return True


def _stop(running: Sequence[Job]) -> None:
    for job in running:
        if job.process is not None and job.process.poll() is None:
            job.process.send_signal(signal.SIGINT)
    for job in running:
        if job.process is None:
            continue
        try:
            job.process.wait(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
        job.state = "finished" if job.process.returncode == 0 else "interrupted"
        job.seconds = time.monotonic() - job.started
