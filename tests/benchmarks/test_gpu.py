"""The command for the first minutes on a GPU runs on a CPU with the smallest sizes, part by part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from tests.benchmarks.test_commands import DEMO

ROOT = Path(__file__).resolve().parents[2]
FAILED = ("Stopped by", "exit code", "another result")


@pytest.fixture(autouse=True)
def no_rates(monkeypatch):
    """The rate of matrix products is not measured."""
    monkeypatch.setattr(gpu, "matmul_rate", lambda dtype, device: 1e9)  # noqa: ARG005
    monkeypatch.setattr(gpu.epoch, "matmul_rate", lambda dtype, device: 1e9)  # noqa: ARG005


def says_that_it_measures_nothing(page: str) -> bool:
    return "measure nothing" in page and "\n| " in page and not any(w in page for w in FAILED)


@pytest.mark.long
def test_all_parts_write_their_pages(tmp_path):
    """In a process of its own: the shape checks of this one cannot read what the compiler traces."""
    words = ["all", "--device", "cpu", "--tiny", *DEMO, "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert all(says_that_it_measures_nothing((tmp_path / f"gpu_{name}_cpu.md").read_text()) for name in gpu.PARTS)


@pytest.mark.parametrize("part", ["inference", "memory"])
def test_each_part_writes_a_page_that_says_it_measures_nothing(part, tmp_path, monkeypatch, capsys):
    words = [part, "--device", "cpu", "--tiny", *DEMO, "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["gpu.py", *words])
    assert gpu.main(words) == 0
    assert says_that_it_measures_nothing((tmp_path / f"gpu_{part}_cpu.md").read_text())
    assert "`python -m benchmarks.gpu" in capsys.readouterr().out


def test_a_part_that_fails_says_so_on_its_page_and_the_others_run(tmp_path, monkeypatch, capsys):
    def failing(_):
        yield "a first table"
        raise RuntimeError("no such kernel\nwith details")

    monkeypatch.setattr(gpu, "PARTS", {"one": failing, "two": lambda _: iter(["fine"])})

    def in_this_process(words, *, check):
        assert words[:3] == [sys.executable, "-m", "benchmarks.gpu"] and not check
        return subprocess.CompletedProcess(words, gpu.main(words[3:]))

    monkeypatch.setattr(subprocess, "run", in_this_process)
    assert gpu.main(["all", "--device", "cpu", "--output", str(tmp_path)]) == 1
    first = (tmp_path / "gpu_one_cpu.md").read_text()
    assert "a first table" in first and "**Stopped by RuntimeError**: no such kernel\n" in first
    assert "fine" in (tmp_path / "gpu_two_cpu.md").read_text() and capsys.readouterr().out


def test_a_gpu_that_is_not_there_and_a_part_that_does_not_exist_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["smoke"]) == 2 and gpu.main(["speed"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
