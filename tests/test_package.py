"""The installed package: one importable name, whose content is that of the checkout."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from balm_forecasting.checkout import COMMANDS, FOLDERS, MODULES, PACKAGE, qualified, write_package

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel installs."""
    target = tmp_path_factory.mktemp("site-packages") / PACKAGE
    write_package(target)
    return target


def examples() -> str:
    """The blocks of docs/python.md that can be run, one after the other."""
    blocks = re.findall(r"^```python run\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    return "\n".join(blocks)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from utils.files import locked", "from balm_forecasting.utils.files import locked"),
        ("    from exp import TASKS", "    from balm_forecasting.exp import TASKS"),
        ("import layers.heads as heads", "import balm_forecasting.layers.heads as heads"),
        ("from .part import Part", "from .part import Part"),
        ("from utilsets import x\nimport models_of_mine", "from utilsets import x\nimport models_of_mine"),
        ('MODELS = {"A": "models.a:A"}', 'MODELS = {"A": "balm_forecasting.models.a:A"}'),
        ('"models/a.py", "exp", "models.A", "run.lock"', '"models/a.py", "exp", "models.A", "run.lock"'),
        ("run `python -m data_provider.check F`", "run `balm-check F`"),
        ("`python -m exp.efficiency`", "`python -m balm_forecasting.exp.efficiency`"),
    ],
)
def test_modules_are_named_in_full(source, expected):
    assert qualified(source) == expected


def test_an_import_that_binds_a_short_name_is_refused():
    with pytest.raises(ValueError, match="import utils: write `from"):
        qualified("import os\nimport utils.files\n")


def test_a_wheel_holds_every_module_and_data_file_of_the_checkout_under_one_name(package):
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (package / path.relative_to(ROOT)).is_file(), path
    assert (package / "run.py").is_file() and (package / "dataset" / "demo" / "demo.csv").is_file()
    assert not (package / "checkout.py").exists()


def test_every_module_that_the_package_names_is_in_it_and_none_by_its_short_name(package):
    ours = "|".join(MODULES)
    # A command that is broken between two lines of the source would not be found.
    short = re.compile(rf"^\s*(?:from|import) (?:{ours})\b|python -m (?:(?:{ours})\b|\")", re.MULTILINE)
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not short.search(text), path
        for name in re.findall(rf"(?:from |\"|python -m ){PACKAGE}\.([a-z_0-9.]+?)(?= import|[:\"` ])", text):
            module = package / name.replace(".", "/")
            if name == "checkout" and path.parent == package:
                # Imported in a checkout only.
                continue
            assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file(), (path, name)


def test_each_command_is_a_function_of_the_checkout():
    commands = PROJECT["scripts"]
    assert {"balm-run", "balm-predict", *COMMANDS.values()} == set(commands)
    for target in commands.values():
        module, _, function = target.partition(":")
        name = module.removeprefix(f"{PACKAGE}.") if module != f"{PACKAGE}.commands" else module
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None, target
        assert f"\ndef {function}(" in Path(found.origin).read_text(encoding="utf-8"), target


def test_the_extra_dev_is_what_testing_needs():
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith(("#", "-r"))] == PROJECT["optional-dependencies"]["dev"]


def test_requirements_are_those_of_the_package_and_the_tracker():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    of_package = (ROOT / "requirements-package.txt").read_text(encoding="utf-8")
    assert [line for line in lines if not line.startswith("#")] == [
        "-r requirements-package.txt",
        *PROJECT["optional-dependencies"]["wandb"],
    ]
    assert all(name in of_package for name in ("torch", "transformers", "numpy", "pandas", "scikit-learn", "tqdm"))
    assert "wandb" not in of_package


def test_the_page_on_python_can_be_followed_in_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(examples(), scope)
    assert list(scope["forecast"].columns)[:2] == ["date", "load"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    said = capsys.readouterr().out
    assert "DLinear_table_96_24_seed2021" in said and "seasonal naive" in said


@pytest.mark.long
def test_an_installed_package_trains_beside_a_module_called_utils_and_its_commands_run(tmp_path, package):
    (tmp_path / "utils.py").write_text("MINE = True\n")
    (tmp_path / "notebook.py").write_text(
        f"import utils\n{examples()}\nassert utils.MINE\nimport sys\n"
        "assert not {'exp', 'models', 'layers', 'data_provider'} & set(sys.modules)\n"
    )
    flags = ["--model", "NLinear", "--data", "demo", "--seq_len", "96", "--pred_len", "24", "--fast_dev_run"]
    forecast = ["--data_path", str(package / "dataset" / "demo" / "demo.csv"), "--output", "forecast.csv"]
    for words in (
        ["notebook.py"],
        ["-m", f"{PACKAGE}.run", *flags],
        ["-m", f"{PACKAGE}.data_provider.check", str(package / "dataset" / "demo" / "demo.csv")],
    ):
        assert _python(words, tmp_path, package) == 0, words
    (run,) = (tmp_path / "results").iterdir()
    call = f"import sys; sys.argv[1:] = {['--checkpoint', str(run), *forecast]}; "
    assert _python(["-c", f"{call}from {PACKAGE}.commands import predict; sys.exit(predict())"], tmp_path, package) == 0
    assert (tmp_path / "forecast.csv").is_file()


def _python(words: list[str], folder: Path, package: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=False).returncode
