"""docs/adding_a_model.md, followed to the letter in a copy of the library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from exp.grid.commands import commands_of_script

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "adding_a_model.md"
BLOCK = re.compile(r"^```\w+ ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARTS = (
    "run.py", "pyproject.toml", "data_provider", "exp", "layers", "models", "utils", "dataset/demo",
    "scripts_long_term", "tests/__init__.py", "tests/conftest.py", "tests/typechecker.py", "tests/models/__init__.py",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block of the page: `purpose` is what stands behind its language."""

    purpose: str
    text: str


def blocks() -> list[Block]:
    return [Block(purpose, text) for purpose, text in BLOCK.findall(PAGE.read_text())]


@dataclass(frozen=True)
class Followed:
    """A copy of the library in which the page has been followed, its files before, and what its commands printed."""

    root: Path
    before: dict[str, bytes]
    outputs: list[str]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    root = tmp_path_factory.mktemp("library")
    for part in PARTS:
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, root / part)
    before = source_files(root)
    return Followed(root, before, [output for block in blocks() if (output := follow(block, root))])


def source_files(root: Path) -> dict[str, bytes]:
    """Every file of the copy by its path, but for what running leaves behind."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and not {"__pycache__", ".pytest_cache", "bin", "results"} & set(file.relative_to(root).parts)
    }


def follow(block: Block, root: Path) -> str:
    """Does with `block` what the page says; returns what a command printed."""
    kind, _, rest = block.purpose.partition("=")
    if kind == "file":
        (root / rest).write_text(block.text)
    elif kind == "line":
        file, after = re.fullmatch(r'(\S+) after="(.+)"', rest).groups()  # pyright: ignore[reportOptionalMemberAccess]
        before, line, behind = (root / file).read_text().partition(f"{after}\n")
        assert line, f"{file} has no line {after!r} any more"
        (root / file).write_text(before + line + block.text + behind)
    else:
        assert block.purpose == "run", block.purpose
        return run(block.text, root)
    return ""


def run(command: str, root: Path) -> str:
    (root / "bin").mkdir(exist_ok=True)
    if not (root / "bin" / "python").exists():
        (root / "bin" / "python").write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
        (root / "bin" / "python").chmod(0o755)
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    finished = subprocess.run(["bash", "-ec", command], cwd=root, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_every_block_of_the_page_is_followed():
    assert [block.purpose.partition("=")[0] for block in blocks()] == ["file", "line", "file", "run", "file", "run"]
    assert PAGE.read_text().count("```") == 2 * len(blocks())


def test_the_models_own_tests_pass(followed: Followed):
    assert "2 passed" in followed.outputs[0]


def test_the_run_leaves_the_record_of_a_trained_model(followed: Followed):
    assert "Drift" in followed.outputs[1]
    (metrics_file,) = followed.root.glob("results/Drift_demo_48_12_*/metrics.json")
    metrics = json.loads(metrics_file.read_text())
    assert metrics["model"] == "Drift"
    assert metrics["parameters"]["trainable"] == 1
    assert metrics["labels"] == ["demo data"]
    assert (metrics_file.parent / "checkpoint" / "best.safetensors").exists()
    config = json.loads((metrics_file.parent / "config.json").read_text())
    assert config["model_config"] == {"first_share": 0.1}


def test_nothing_but_the_pages_files_and_one_line_has_changed(followed: Followed):
    named = {block.purpose.partition("=")[2].split()[0] for block in blocks() if block.purpose != "run"}
    after = source_files(followed.root)
    changed = {name for name in followed.before.keys() | after.keys() if followed.before.get(name) != after.get(name)}
    assert changed == named


def test_the_script_runs_the_model_on_the_four_horizons(followed: Followed):
    commands = commands_of_script(followed.root / "scripts_long_term" / "Drift_ETTh1.sh", ["--seed", "7"])
    assert [command[command.index("--pred_len") + 1] for command in commands] == ["96", "192", "336", "720"]
    assert all(command[-2:] == ["--seed", "7"] for command in commands)
