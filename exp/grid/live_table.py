"""Status table of a queue: redrawn in place on a terminal, a line per change otherwise."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence

from exp.grid.queue import Job
from utils.terminal import one_line

_ORDER = ("failed", "interrupted", "running", "waiting", "finished", "already finished")


class LiveTable:
    """Writes the state of the jobs to standard output each time it is called."""

    def __init__(self) -> None:
        self.num_drawn = 0
        self.states: dict[int, str] = {}

    def __call__(self, jobs: Sequence[Job]) -> None:
        if sys.stdout.isatty():
            self._redraw(jobs)
        else:
            self._report_changes(jobs)

    def _redraw(self, jobs: Sequence[Job]) -> None:
        width, height = shutil.get_terminal_size()
        # As many lines as fit, those that need attention first; the last line counts all jobs.
        urgent = sorted(jobs, key=lambda job: _ORDER.index(job.state))[: max(1, height - 3)]
        shown = [job for job in jobs if job in urgent]
        lines = [line[: width - 1] for line in [*job_lines(shown), summary(jobs)]]
        up = f"\x1b[{self.num_drawn}A" if self.num_drawn else ""
        sys.stdout.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        # Clear the rest of an earlier, longer table.
        extra = self.num_drawn - len(lines)
        if extra > 0:
            sys.stdout.write("\x1b[2K\n" * extra + f"\x1b[{extra}A")
        sys.stdout.flush()
        self.num_drawn = len(lines)

    def _report_changes(self, jobs: Sequence[Job]) -> None:
        changed = [job for job in jobs if self.states.get(id(job), "waiting") != job.state]
        self.states = {id(job): job.state for job in jobs}
        sys.stdout.write("".join(f"{line}\n" for line in job_lines(changed)))
        sys.stdout.flush()


def job_lines(jobs: Sequence[Job]) -> list[str]:
    """One line per job: state, name, GPU, time, and the last line of the log of a run that is running or failed."""
    widest = max((len(job.run.name) for job in jobs), default=0)
    lines = []
    for job in jobs:
        detail = job.last_line() if job.state in ("running", "failed", "interrupted") else ""
        gpu = f"gpu {job.gpu}" if job.gpu else ""
        time = _clock(job.seconds) if job.seconds else ""
        line = f"{job.state:<16}  {job.run.name:<{widest}}  {gpu:<6} {time:>8}  {detail}"
        lines.append(one_line(line.rstrip()))
    return lines


def summary(jobs: Sequence[Job]) -> str:
    """The number of runs in each state, as a line."""
    counts = Counter(job.state for job in jobs)
    parts = [f"{counts[state]} {state}" for state in reversed(_ORDER) if counts[state]]
    return f"{len(jobs)} runs: {', '.join(parts)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
