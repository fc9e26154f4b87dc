"""Machines that lack something: another platform, a compiler, room on the disk, a cache that can be written."""

from __future__ import annotations

import ast
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import run
from exp.training.runtime import check_compiler, peak_memory_bytes
from layers.word_components import cached_word_embeddings
from tests.exp.runs import flags, run_folder, run_here, write_table
from utils.files import CannotWrite
from utils.plotting import plot_training_curves

ROOT = Path(__file__).resolve().parents[2]
UNIX_ONLY = {"fcntl", "resource", "termios", "pwd", "grp", "pty", "syslog"}


def no_room(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_module_imports_what_only_unix_has_when_it_is_loaded():
    for folder in ("data_provider", "exp", "layers", "models", "utils", "balm_forecasting"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & UNIX_ONLY, path


@pytest.mark.long
def test_help_is_printed_where_the_modules_of_unix_are_missing():
    code = f"import sys\nfor name in {sorted(UNIX_ONLY)}: sys.modules[name] = None\nimport run\nrun.main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout


def test_peak_memory_is_that_of_the_process():
    assert peak_memory_bytes(torch.device("cpu"))["host"] > 2**20


def test_compiling_without_a_compiler_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert run_here(flags(tmp_path, "--compile")) == run.WRONG_INPUT
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--compile needs a C++ compiler, but" in error and "leave --compile away" in error
    assert not (tmp_path / "results").exists()


def test_the_compiler_that_the_environment_names_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler -O2")
    with pytest.raises(ValueError, match="but a-compiler is not found"):
        check_compiler(torch.device("cpu"))
    (tmp_path / "a-compiler").write_text("#!/bin/sh\n")
    (tmp_path / "a-compiler").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_compiler(torch.device("cpu"))


def test_word_components_are_computed_where_the_cache_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").touch()
    table = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    expected = cached_word_embeddings(table, 5, llm_sha256="a" * 64, directory=tmp_path / "cache")
    found = cached_word_embeddings(table, 5, llm_sha256="a" * 64, directory=tmp_path / "file" / "cache")
    assert torch.equal(found, expected)
    assert "cannot be written" in caplog.text


def test_a_full_disk_while_plotting_names_the_plot(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.files.os.fsync", no_room)
    epochs = [{"epoch": 1, "train": {"loss": 1.0}, "validation": {"mse": 1.0}}]
    with pytest.raises(CannotWrite, match=r"training\.png cannot be written \(No space left on device\)"):
        plot_training_curves(tmp_path / "training.png", epochs=epochs, title="t", label=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["exp.exp_predict.write_tables", "utils.files.os.fsync", "pathlib.Path.mkdir"])
def test_a_full_disk_while_forecasting_names_the_output_and_leaves_nothing(tmp_path, monkeypatch, capsys, place):
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    words = ["--checkpoint", str(run_folder(tmp_path)), "--data_path", str(write_table(tmp_path / "new.csv"))]
    output = tmp_path / "out" / "forecast.csv"
    if place != "pathlib.Path.mkdir":
        output.parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(place, no_room)
        code = run_here(["--task_name", "predict", *words, "--output", str(output)])
    assert code == run.FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"--output {output} cannot be written (No space left on device)" in error
    assert not output.parent.exists() or not list(output.parent.iterdir())
