"""docs/own_data.md: every command and every piece of Python on the page does what the page says."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest

import run
from exp.command_line import parse_command

PAGE = Path(__file__).parents[1] / "docs" / "own_data.md"


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of code on the page, in order."""
    return re.findall(r"^```(bash|python)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[list[str], int]]:
    """Words of each command of a block, file patterns resolved, and the exit code that its comment states."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        stated = re.search(r"# exit code (\d)", line)
        words = shlex.split(line, comments=True)
        words = [name for word in words for name in (matching(word) if "*" in word else [word])]
        found.append((words, int(stated.group(1)) if stated else 0))
    return found


def matching(pattern: str) -> list[str]:
    """The files of a pattern, as the shell puts them in its place."""
    return sorted(str(path) for path in Path().glob(pattern))


def execute(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs `python run.py ...` or `python -m module ...` in this process and returns the exit code."""
    if words[:2] == ["python", "run.py"]:
        return run.main(words[2:])
    assert words[:2] == ["python", "-m"], f"a command that this test cannot run: {words}"
    monkeypatch.setattr(sys, "argv", words[2:])
    try:
        runpy.run_module(words[2], run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_every_command_of_the_page_does_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for language, text in blocks():
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), found)
            continue
        for words, code in commands(text):
            assert execute(words, monkeypatch) == code, words

    for name in ("holes.fixed.csv", "forecast.csv", "forecast.png", "forecast.txt", "balm.parquet", "rolling.csv"):
        assert (tmp_path / name).stat().st_size > 0
    written = pd.read_csv("forecast.csv", parse_dates=["date"])
    last = pd.read_csv("my.csv", parse_dates=["date"])["date"].iloc[-1]
    assert written["date"].tolist() == pd.date_range(last, periods=25, freq="h")[1:].tolist()
    assert list(written) == [
        "date",
        *(f"{name}{part}" for name in "0 1 OT".split() for part in ("", "_lower", "_upper")),
    ]
    assert list(pd.read_csv("rolling.csv")) == ["made_at", "date", "OT"]
    future = found["future"]
    assert isinstance(future, pd.DataFrame)
    pd.testing.assert_frame_equal(written, future, check_dtype=False, rtol=1e-8)


def test_the_flags_in_the_table_of_the_page_exist():
    for flags in re.findall(r"^\| `(--.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        parse_command(["--data", "custom", "--data_path", "my.csv", "--model", "DLinear", *flags.split()])
