"""Runs killed at random times, continued by the same command and compared byte by byte with one left alone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.endurance.counts import Counts
from tests.exp.runs import flags, result, start

ROOT = Path(__file__).resolve().parents[2]
KILLS_OF_ONE_RUN = 4
SECONDS_FOR_A_RUN = 300.0


@dataclass(frozen=True)
class SetUp:
    """A kind of run: its model, further flags and how it is launched."""

    model: str
    more: tuple[str, ...] = ()
    launcher: str = ""


SET_UPS = {
    "DLinear": SetUp("DLinear", ("--checkpoint_steps", "2")),
    "BALM": SetUp("BALM"),
    "BALM, steps saved": SetUp("BALM", ("--checkpoint_steps", "1")),
    "BALM, frozen": SetUp("BALM frozen"),
    "BALM, frozen, steps saved": SetUp("BALM frozen", ("--checkpoint_steps", "3")),
    "CALF": SetUp("CALF", ("--checkpoint_steps", "2")),
    "two processes": SetUp("DLinear", ("--checkpoint_steps", "2"), launcher="torchrun"),
    "grid": SetUp("DLinear", ("--checkpoint_steps", "2"), launcher="grid"),
    "download": SetUp("", launcher="download"),
}


class Killable:
    """A started command, alone or as the leader of a process group that dies with it."""

    def __init__(self, name: str, folder: Path, output: str):
        self.set_up, self.log = SET_UPS[name], folder / f"{output}.log"
        words = flags(folder, *self.set_up.more, model=self.set_up.model, output=output)
        self.process = None if self.set_up.launcher else start(words, self.log)
        self.launched = None if self.process else self._launch(words, folder)

    def _launch(self, words: list[str], folder: Path) -> subprocess.Popen[bytes]:
        if self.set_up.launcher == "torchrun":
            command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
            command = [*command, "--standalone", "run.py", *words]
        else:
            script = folder / "runs.sh"
            script.write_text(
                f"python run.py {' '.join(words)} --output_dir {words[words.index('--output_dir') + 1]}\n"
            )
            command = ["-m", "exp.grid", "--scripts", str(script)]
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=log,
                                    env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip

    def wait(self, seconds: float) -> int | None:
        """The exit code, or None if it has not ended by then."""
        if self.process is not None:
            self.process.join(seconds)
            return self.process.exitcode
        assert self.launched is not None
        try:
            return self.launched.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> bool:
        """SIGKILL; what it started has to notice by itself. Returns whether it did, and kills it otherwise."""
        pid = self.process.pid if self.process is not None else self.launched.pid  # pyright: ignore
        assert pid is not None
        children = descendants(pid)
        os.kill(pid, signal.SIGKILL)
        self.wait(30)
        ends = time.monotonic() + 60
        while any(is_alive(child) for child in children):
            if time.monotonic() > ends:
                for child in filter(is_alive, children):
                    os.kill(child, signal.SIGKILL)
                return False
            time.sleep(0.1)
        return True


def tracebacks(log: str) -> list[str]:
    """The tracebacks in a log but for torchrun's own, printed whenever a worker exits with a code that is not 0."""
    found = [_up_to_its_error(text) for text in log.split("Traceback (most recent call last):\n")[1:]]
    return [text for text in found if "ChildFailedError" not in text]


def _up_to_its_error(text: str) -> str:
    """The lines of a traceback, which are indented, and the first one after them."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    return "\n".join(lines[: end + 1])


def descendants(pid: int) -> list[int]:
    """The processes that this one has started, and theirs."""
    try:
        found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [other for child in found for other in descendants(child)]


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def finished(folder: Path, output: str) -> Path | None:
    """The run folder in `folder/output`, if it is finished."""
    return next((path.parent for path in (folder / output).glob("*/metrics.json")), None)


def kill_set_up(name: str, folder: Path, num_kills: int) -> Counts:
    """Kill this set-up often enough, a few times each run, and compare every end with a run left alone."""
    if SET_UPS[name].launcher == "download":
        from tests.endurance.downloads import kill_downloads

        return kill_downloads(folder, num_kills)
    counts, chance = Counts(), random.Random(name)
    alone = Killable(name, folder, "alone")
    code, whole = alone.wait(SECONDS_FOR_A_RUN), finished(folder, "alone")
    if code != 0 or whole is None:
        counts.fail("lost", f"the undisturbed run ended with {code}: {alone.log.read_text()[-300:]}")
        return counts
    # The first run waited for imports that the next ones find done.
    began = time.monotonic()
    Killable(name, folder, "timed").wait(SECONDS_FOR_A_RUN)
    expected, longest, number = result(whole), time.monotonic() - began, 0
    while counts.tried["kills"] < num_kills:
        output = f"killed-{number}"
        number += 1
        log = _kill_one(name, folder, output, counts, lambda: chance.uniform(0.05, longest))
        counts.tried["runs"] += 1
        ended = finished(folder, output)
        if ended is None:
            counts.fail("lost", f"{output}: {log[-300:]!r}")
        elif result(ended) != expected:
            counts.fail("diverged", output)
        for traceback in tracebacks(log):
            counts.fail("traceback", f"{output}: {traceback[-600:]!r}")
        left = [path.name for path in (ended.rglob("*") if ended else ()) if path.name.endswith((".part", ".lock"))]
        if left:
            counts.fail("lost", f"{output}: left-overs {left}")
        shutil.rmtree(folder / output, ignore_errors=True)
    return counts


def _kill_one(name: str, folder: Path, output: str, counts: Counts, seconds: Callable[[], float]) -> str:
    """Start, kill and go on until the run is finished. Returns what it said."""
    log = folder / f"{output}.log"
    for attempt in range(KILLS_OF_ONE_RUN + 1):
        started = Killable(name, folder, output)
        last = attempt == KILLS_OF_ONE_RUN
        code = started.wait(SECONDS_FOR_A_RUN if last else seconds())
        if code is None:
            if not started.kill():
                counts.fail("lost", f"{output}: what was started went on without the process that was killed")
            counts.tried["kills"] += 1
        # After its last file a killed run is finished: the command says so, and sweeps.
        elif finished(folder, output) is not None:
            break
    if finished(folder, output) is not None:
        Killable(name, folder, output).wait(SECONDS_FOR_A_RUN)
    return log.read_text(errors="replace") if log.exists() else ""
