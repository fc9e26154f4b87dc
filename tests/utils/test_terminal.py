"""Progress passes everything on, and speaks once a minute where no terminal is."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import run
from tests.exp.runs import flags
from utils import terminal as module
from utils.terminal import aligned, duration, one_line, printable, progress_bar

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances 20 s whenever it is read."""
    times = iter(range(0, 100_000, 20))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(times)))
    monkeypatch.setattr(module.sys, "stderr", open("/dev/null", "w"))  # noqa: PTH123, SIM115


def lines_of(caplog, **options) -> list[str]:
    with caplog.at_level(logging.INFO):
        assert list(progress_bar(range(10), total=10, label="epoch 1/2", **options)) == list(range(10))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.usefixtures("clock")
def test_without_a_terminal_there_is_a_line_a_minute_with_the_time_left(caplog):
    lines = lines_of(caplog)
    assert len(lines) == 3
    assert lines[0] == "epoch 1/2: step 2 of 10, about 4 min 00 s left"


@pytest.mark.usefixtures("clock")
def test_a_resumed_pass_counts_from_where_it_goes_on(caplog):
    with caplog.at_level(logging.INFO):
        list(progress_bar(range(6), total=10, label="epoch 1/2", start=4))
    assert caplog.records[0].getMessage() == "epoch 1/2: step 6 of 10, about 2 min 00 s left"


@pytest.mark.usefixtures("clock")
def test_a_process_that_does_not_show_it_is_silent(caplog):
    assert lines_of(caplog, shown=False) == []


def test_quick_passes_leave_no_line(caplog):
    assert lines_of(caplog) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_as_a_person_says_them(seconds, words):
    assert duration(seconds) == words


def test_control_characters_of_names_are_escaped_and_letters_kept():
    assert printable("a\x1b[31mred\x07\u202eß\ud800 温度\tb\nc") == "a\\x1b[31mred\\x07\\u202eß\\ud800 温度\tb\nc"
    assert one_line(" a\nb\r ") == "a\\nb"
    assert "\x1b" not in aligned(["x"], [["\x1b[2J\nforged line"]]) and "\nforged" not in aligned(["x"], [["\nforged"]])


def test_a_reader_that_has_gone_ends_a_command_quietly():
    """As in `python -m utils.results results | head -1`."""
    code = "from utils.terminal import print_to_the_end; print_to_the_end('line\\n' * 100_000)"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.long
def test_the_results_of_a_folder_survive_head(tmp_path):
    assert run.main(["--model", "LastValue", *flags(tmp_path)[2:]]) == 0
    command = f"'{sys.executable}' -m utils.results '{tmp_path / 'results'}' | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"long term forecast")
