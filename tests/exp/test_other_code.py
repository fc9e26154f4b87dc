"""The ordinary loop of research: run, edit, run again, compare; no result of two codes is ever taken for one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import utils.source
from models.base import Forecast
from models.dlinear import DLinear
from tests.exp.runs import flags, run_folder, run_here
from utils import results
from utils.run_folder import RunFolder

ROOT = utils.source.ROOT
GIT = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A committed copy of the source files, which tests can edit."""
    copy = tmp_path / "checkout"
    for package in utils.source.PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*GIT, *words], cwd=copy, check=True)
    monkeypatch.setattr(utils.source, "ROOT", copy)
    return copy


@pytest.mark.parametrize(
    "name",
    [
        "/proc/kmsg",
        "../outside.py",
        "/etc/passwd",
        "models/../../x.py",
        "a\0b.py",
        "x" * 9999,
        f"models/{'x' * 300}.py",
    ],
)
def test_a_record_cannot_name_a_file_outside_the_project(name, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))
    assert utils.source.files_that_differ({"files": {name: "0"}}) == [name]


def edit_dlinear(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model forecasts the last value from now on, and its file has changed."""
    file = checkout / "models" / "dlinear.py"
    file.write_text(file.read_text() + "\nLAST_VALUE = True\n")
    original = DLinear.forward

    def forward(self: DLinear, look_back: torch.Tensor) -> Forecast:
        found = original(self, look_back)
        return Forecast(found.values * 0 + look_back[:, -1:])

    monkeypatch.setattr(DLinear, "forward", forward)


def test_edit_run_again_results_compare(checkout, tmp_path, monkeypatch, capsys):
    command = flags(tmp_path, "--train_epochs", "1")
    assert run_here(command) == 0
    first = run_folder(tmp_path)
    before = {path: path.read_bytes() for path in sorted(first.rglob("*")) if path.is_file()}
    edit_dlinear(checkout, monkeypatch)

    assert run_here(command) == 2
    assert "models/dlinear.py changed since): give --des NAME" in capsys.readouterr().err
    assert run_here([*command, "--is_training", "0"]) == 0
    assert {path: path.read_bytes() for path in sorted(first.rglob("*")) if path.is_file()} == before

    assert run_here([*command, "--des", "lastvalue"]) == 0
    assert "edited code: models/dlinear.py" in capsys.readouterr().out
    (second,) = set((tmp_path / "results").iterdir()) - {first}
    assert "+LAST_VALUE = True" in (second / "code.diff").read_text() and not (first / "code.diff").exists()

    assert results.main([str(tmp_path / "results"), "--compare", "DLinear", "lastvalue"]) == 0
    said = capsys.readouterr()
    assert "left out" not in said.err
    assert "DLinear against DLinear (lastvalue, edited)" in said.out
    found = results.collect(tmp_path / "results").rows.set_index("name")["mse"]
    naive = json.loads((second / "metrics.json").read_text())["tests"]["table"]["naive"]["LastValue"]["mse"]
    assert found["DLinear (lastvalue, edited)"] == pytest.approx(naive) != found["DLinear"]


def test_an_interrupted_run_does_not_go_on_with_other_code_unless_told_to(tmp_path, capsys):
    command = flags(tmp_path, "--train_epochs", "1")
    assert run_here(command) == 0
    folder = RunFolder(run_folder(tmp_path))
    folder.metrics.unlink()
    record = json.loads(folder.config.read_text())
    del record["sha256"]
    record["source"]["files"]["models/dlinear.py"] = "another"
    folder.config.write_text(json.dumps(record))
    assert run_here(command) == 2
    assert "would go on with other code: models/dlinear.py changed since" in capsys.readouterr().err
    assert run_here([*command, "--allow_other_code"]) == 0
    assert "code changed during training" in json.loads(folder.metrics.read_text())["labels"]


def test_what_shows_results_only_is_no_part_of_the_code_that_a_result_depends_on():
    files = utils.source.imported_files()
    assert {"models/dlinear.py", "exp/training/loop.py", "utils/metrics.py"} <= set(files)
    assert not {"utils/terminal.py", "models/__init__.py", "utils/results.py"} & set(files)
