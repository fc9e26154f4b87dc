"""The folders of a checkout as subpackages of `balm_forecasting`: copied into a wheel, or imported from where they are.

In the checkout the code says `from utils.files import ...`, as in Time-Series-Library. An installed package must not
claim names such as `utils`, so its copy says `from balm_forecasting.utils.files import ...`: the same text, with every
module named in full. No other file is in need of that; a wheel leaves this one out.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "balm_forecasting"
ROOT = Path(__file__).parent.parent
FOLDERS = ("data_provider", "exp", "layers", "models", "utils")
MODULES = (*FOLDERS, "run")
DATA = ("dataset/README.md", "dataset/demo/demo.csv")
COMMANDS = {
    "data_provider.check": "balm-check",
    "data_provider.download": "balm-download",
    "utils.report": "balm-report",
    "utils.results": "balm-results",
}
_OURS, _FOLDERS = "|".join(MODULES), "|".join(FOLDERS)
_STATEMENT = re.compile(rf"^(\s*(?:from|import) )(?=(?:{_OURS})\b)", re.MULTILINE)
_UNNAMED = re.compile(rf"^\s*import (?:{_OURS})\b(?!.* as )", re.MULTILINE)
_NAME_IN_QUOTES = re.compile(rf"\"(?=(?:{_FOLDERS})(?:\.[a-z]\w*)+[:\"])")
_COMMAND = re.compile(rf"python -m ((?:{_FOLDERS})[\w.]*)")


def qualified(source: str) -> str:
    """`source` with the modules of this library named in full: in import statements, strings and shown commands.

    Raises ValueError for `import utils.x`, which would bind the short name.
    """
    unnamed = _UNNAMED.search(source)
    if unnamed is not None:
        raise ValueError(f"{unnamed[0].strip()}: write `from ... import ...`, which can be named in full")
    source = _STATEMENT.sub(rf"\1{PACKAGE}.", source)
    source = _NAME_IN_QUOTES.sub(f'"{PACKAGE}.', source)
    return _COMMAND.sub(lambda found: COMMANDS.get(found[1], f"python -m {PACKAGE}.{found[1]}"), source)


def write_package(target: Path, root: Path = ROOT) -> None:
    """Write the package `balm_forecasting` of a wheel to `target`, which is emptied before."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", Path(__file__).name))
    for folder in FOLDERS:
        shutil.copytree(root / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("run.py", *DATA):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, target / file)
    for path in target.rglob("*.py"):
        path.write_text(qualified(path.read_text(encoding="utf-8")), encoding="utf-8")


def make_importable() -> None:
    """Make the folders of this checkout importable as `balm_forecasting.utils` and so on; `sys.path` is unchanged."""
    if not any(isinstance(finder, _CheckoutFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CheckoutFinder())


class _CheckoutFinder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parts = fullname.split(".")
        if len(parts) < 2 or parts[0] != PACKAGE or parts[1] not in MODULES:
            return None
        spec = PathFinder.find_spec(fullname, [str(ROOT)] if len(parts) == 2 else path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _CheckoutLoader(fullname, spec.loader.path)
        return spec


class _CheckoutLoader(SourceFileLoader):
    """Compiles the qualified source, past the bytecode beside the file, which belongs to `import utils`."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        source = Path(self.path).read_text(encoding="utf-8")
        return self.source_to_code(qualified(source).encode(), self.path)
