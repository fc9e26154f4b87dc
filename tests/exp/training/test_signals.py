"""A signal outside the epochs is one line and exit code 130; a run whose parent dies stops."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.exp.runs import finish, flags, result, run_folder, start

ROOT = Path(__file__).resolve().parents[3]


def in_test(number: int, lost: bool) -> None:
    """Sends the process a signal while it tests; `lost`: where an interrupt is swallowed."""
    from exp.exp_long_term_forecast import LongTermForecast

    original = LongTermForecast.test_entries

    def test_entries(self):
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            if not lost:
                raise
        return original(self)

    LongTermForecast.test_entries = test_entries


@pytest.mark.parametrize(("number", "lost"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_in_the_test_keeps_the_training_and_says_so(tmp_path, number, lost):
    command = flags(tmp_path, "--train_epochs", "1")
    code = finish(start(command, tmp_path / "log", functools.partial(in_test, number, lost)))
    said = (tmp_path / "log").read_text()
    assert code == 130, said
    assert "interrupted: the same command goes on from the last state that was saved" in said
    assert "Traceback" not in said
    assert not (run_folder(tmp_path) / "metrics.json").exists()
    assert finish(start(command, tmp_path / "log")) == 0
    assert finish(start(flags(tmp_path, "--train_epochs", "1", output="undisturbed"), tmp_path / "log")) == 0
    assert result(run_folder(tmp_path)) == result(run_folder(tmp_path, "undisturbed"))


PARENT = """
import os, subprocess, sys, time
sys.path.insert(0, {root!r})
from utils.signals import PARENT
child = subprocess.Popen([sys.executable, "-c", {child!r}], env={{**os.environ, PARENT: str(os.getpid())}})
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import sys, time
sys.path.insert(0, {root!r})
from utils.signals import StopRequest, stop_with_parent
with StopRequest(at_once=True):
    stop_with_parent()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        open({done!r}, "w").close()
"""


def test_a_run_stops_when_its_parent_is_killed(tmp_path):
    done = tmp_path / "stopped"
    child = CHILD.format(root=str(ROOT), done=str(done))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(root=str(ROOT), child=child)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdecimal()
    time.sleep(0.5)
    parent.kill()
    parent.communicate()
    for _ in range(300):
        if done.exists():
            return
        time.sleep(0.1)
    raise AssertionError("the child went on without its parent")


def test_a_signal_while_modules_are_imported_is_one_line(tmp_path):
    program = "import utils.signals as s, os, signal; s.end_at_once_on_signals(); os.kill(os.getpid(), signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was written\n"), tmp_path
