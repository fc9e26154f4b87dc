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

from tests.endurance.kills import is_alive
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
    try:
        stop_with_parent()
        time.sleep(60)
    except KeyboardInterrupt:
        open({done!r}, "w").close()
"""


# As in torch's rendezvous, whose waiting in C++ no handler of Python interrupts.
DEAF_CHILD = """
import signal, sys, time
sys.path.insert(0, {root!r})
from utils.signals import stop_with_parent, unheard
stop_with_parent()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with unheard():
    time.sleep(60)
"""


@pytest.mark.parametrize("hears", [True, False])
def test_a_run_stops_when_its_parent_is_killed(tmp_path, hears):
    done = tmp_path / "stopped"
    child = CHILD.format(root=str(ROOT), done=str(done)) if hears else DEAF_CHILD.format(root=str(ROOT))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(root=str(ROOT), child=child)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.communicate()
    for _ in range(300):
        if done.exists() if hears else not is_alive(pid):
            return
        time.sleep(0.1)
    raise AssertionError("the child went on without its parent")


def test_a_worker_whose_launcher_died_before_it_could_look_ends(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(CHILD.format(root=str(ROOT), done=str(tmp_path / "stopped")))
    worker = {"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    # A shell stands for the process that adopts it: it is no launcher.
    child.write_text(
        child.read_text().replace(
            "with Stop", "import os, utils.signals as s; s.FIRST_PROCESS = os.getppid()\nwith Stop"
        )
    )
    command = ["bash", "-c", f"{sys.executable} {child}; true"]
    subprocess.run(command, env={**os.environ, **worker}, check=True, timeout=30)
    assert (tmp_path / "stopped").exists()


def test_a_worker_that_a_wrapper_of_its_launcher_started_runs(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(CHILD.format(root=str(ROOT), done=str(tmp_path / "stopped")).replace("sleep(60)", "sleep(2)"))
    worker = {"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    command = ["bash", "-c", f"{sys.executable} {child}; true"]
    subprocess.run(command, env={**os.environ, **worker}, check=True, timeout=30)
    assert not (tmp_path / "stopped").exists()


# Sends itself a signal when the command imports what stands below its handlers.
IMPORTING = """
import builtins, os, runpy, signal, sys
original = builtins.__import__
def hooked(name, *rest, **more):
    if name == "argparse":
        os.kill(os.getpid(), signal.{number})
    return original(name, *rest, **more)
builtins.__import__ = hooked
sys.argv = [sys.argv[1]]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
TOOLS = [
    "data_provider.check", "data_provider.demo", "data_provider.download", "exp.efficiency", "exp.grid", "exp.probe",
    "exp.replay", "utils.report", "utils.report.summary", "utils.results", "utils.verdict",
]  # fmt: skip


def test_the_list_of_commands_is_whole():
    found = [path for folder in ("data_provider", "exp", "utils") for path in (ROOT / folder).rglob("*.py")]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in found
        if 'if __name__ == "__main__"' in path.read_text()
    }
    assert names == set(TOOLS)


@pytest.mark.parametrize("module", TOOLS)
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_command_is_imported_is_one_line(module, number):
    command = [sys.executable, "-c", IMPORTING.format(number=number), module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: nothing was written\n")


LATE = """
import atexit, os, runpy, signal, sys
atexit.register(lambda: os.kill(os.getpid(), signal.{number}))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


READ_BY_NOBODY = {
    "run.py --help": 0,
    "-m exp.grid --scripts scripts_long_term/DLinear_ETTh1.sh --list": 141,
    "-m data_provider.check dataset/demo/demo.csv": 141,
}


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("command", "code"), READ_BY_NOBODY.items())
def test_a_pipe_that_nobody_reads_is_no_traceback(command, code, unbuffered):
    """As `| head` leaves it; with a buffer it is noticed at the end."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == code
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_after_the_work_changes_nothing(number):
    """`utils.results` has said its word on a folder without runs."""
    command = [sys.executable, "-c", LATE.format(number=number), "utils.results", str(ROOT / "docs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "interrupted" not in done.stderr and "Traceback" not in done.stderr


def test_a_signal_while_modules_are_imported_is_one_line(tmp_path):
    program = "import utils.signals as s, os, signal; s.end_at_once_on_signals(); os.kill(os.getpid(), signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was written\n"), tmp_path
