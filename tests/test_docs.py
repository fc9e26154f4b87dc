"""README and docs: their links, commands and file names exist, and a run can be followed in at most 20 files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from data_provider.datasets import DATASETS
from exp.command_line import parse_command

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "dataset" / "README.md", *ROOT.glob("docs/*.md")]
WALK = ROOT / "docs" / "how_a_run_works.md"
MOST_FILES = 20
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(tests|docs|exp|utils|models|layers|data_provider|benchmarks|sweeps|scripts_\w+)/[\w/.]+")
MADE_BY_A_READER = {"models/drift.py", "tests/models/test_drift.py"}


def without_code(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command line in a bash block of a page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```bash[^\n]*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            found += [line for line in block.replace("\\\n", " ").splitlines() if re.match(r"[a-zA-Z]", line)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_in_the_text_exists(page):
    text = without_code(page.read_text())
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for name in CODE.findall(text):
        file = name.split("::")[0]
        if re.fullmatch(
            r"(tests|docs|exp|utils|models|layers|data_provider|benchmarks|sweeps|scripts_\w+)/[\w/.]+", file
        ):
            assert (ROOT / file).exists() or file in MADE_BY_A_READER, name


@pytest.mark.parametrize("command", [command for command in commands() if "python run.py" in command])
def test_every_training_command_has_flags_that_exist(command):
    words = shlex.split(command, comments=True)
    if "predict" in words or "Drift" in words:
        pytest.skip("run by the test of its own page")
    settings = parse_command(words[words.index("run.py") + 1 :])
    assert set(settings.data.data.split(",")) <= {*DATASETS, "custom"}


def test_scripts_modules_and_targets_of_commands_exist():
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands():
        for script in re.findall(r"\b(?:scripts_\w+|sweeps)/\S+", command):
            assert list(ROOT.glob(script)) or "Drift" in script, command
        for module in re.findall(r"python -m ([\w.]+)", command):
            assert importlib.util.find_spec(module), command
        for target in re.findall(r"^make (\S+)", command):
            assert target in targets, command


def test_a_run_can_be_followed_in_at_most_20_files_whose_names_are_right():
    text = WALK.read_text()
    sections = re.findall(r"^### (\d+)\. `(.+?)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _, _ in sections] == list(range(1, len(sections) + 1))
    assert len(sections) <= MOST_FILES
    for _, file, section in sections:
        code = (ROOT / file).read_text()
        for name in CODE.findall(section):
            if re.fullmatch(r"\w+", name):
                assert re.search(rf"\b{name}\b", code), f"{file} has no {name}"
