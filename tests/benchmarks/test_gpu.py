"""The command for the first minutes on a GPU runs on a CPU with the smallest sizes, part by part."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from tests.benchmarks.test_commands import DEMO


@pytest.fixture(autouse=True)
def no_rates(monkeypatch):
    """The rate of matrix products is not measured."""
    monkeypatch.setattr(gpu, "matmul_rate", lambda dtype, device: 1e9)  # noqa: ARG005
    monkeypatch.setattr(gpu.epoch, "matmul_rate", lambda dtype, device: 1e9)  # noqa: ARG005


@pytest.mark.parametrize("part", ["graphs", "memory", pytest.param("all", marks=pytest.mark.long)])
def test_each_part_writes_a_page_that_says_it_measures_nothing(part, tmp_path, monkeypatch, capsys):
    words = [part, "--device", "cpu", "--tiny", *DEMO, "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["gpu.py", *words])
    assert gpu.main(words) == 0
    pages = list(gpu.PARTS) if part == "all" else [part]
    for name in pages:
        page = (tmp_path / f"gpu_{name}_cpu.md").read_text()
        assert "measure nothing" in page and "\n| " in page and "exit code" not in page and "another result" not in page
    assert "`python -m benchmarks.gpu" in capsys.readouterr().out


def test_a_part_that_fails_says_so_on_its_page_and_the_others_run(tmp_path, monkeypatch, capsys):
    def failing(_):
        yield "a first table"
        raise RuntimeError("no such kernel\nwith details")

    monkeypatch.setattr(gpu, "PARTS", {"one": failing, "two": lambda _: iter(["fine"])})
    assert gpu.main(["all", "--device", "cpu", "--output", str(tmp_path)]) == 1
    first = (tmp_path / "gpu_one_cpu.md").read_text()
    assert "a first table" in first and "**Stopped by RuntimeError**: no such kernel\n" in first
    assert "fine" in (tmp_path / "gpu_two_cpu.md").read_text() and capsys.readouterr().out


def test_a_gpu_that_is_not_there_and_a_part_that_does_not_exist_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["smoke"]) == 2 and gpu.main(["speed"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
