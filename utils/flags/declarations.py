"""Dataclasses of flags read from source files, without running the rest of the files.

A model's file imports torch, which takes seconds; its flags are a dataclass beside it, and `--help` needs no more.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from copy import copy
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar, Literal

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "balm_forecasting."
OURS = ("data_provider", "exp", "layers", "models", "utils")


def config_of(module: str, class_name: str, attribute: str) -> Any:
    """The value of the class attribute `attribute` of a class in `module`, such as a model's `Config`.

    Raises LookupError if it is not to be had without running the file.
    """
    declared = _Module(module)
    for node in declared.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for line in node.body:
                if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
                    target = line.targets[0] if isinstance(line, ast.Assign) else line.target
                    if isinstance(target, ast.Name) and target.id == attribute:
                        return declared.evaluate(line.value)
            for base in node.bases:
                if isinstance(base, ast.Name):
                    return config_of(*declared.origin(base.id), attribute)
    raise LookupError(f"{module} declares no {class_name}.{attribute}")


@cache
def declared(module: str, name: str) -> Any:
    """The dataclass or constant `name` of `module`."""
    found = _Module(module)
    if found.imports_only_the_standard_library:
        return getattr(importlib.import_module(module), name)
    for node in found.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return found.run_class(node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == name:
                return found.evaluate(node.value)
    if name in found.imported:
        return declared(*found.imported[name])
    raise LookupError(f"{module} declares no {name}")


class _Module:
    """A source file, parsed."""

    def __init__(self, module: str):
        self.name = module.removeprefix(PACKAGE)
        folder = ROOT.joinpath(*self.name.split("."))
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    @property
    def imports_only_the_standard_library(self) -> bool:
        """Whether the file can be imported in no time."""
        plain = {alias.name for node in self.tree.body if isinstance(node, ast.Import) for alias in node.names}
        modules = plain | {module for module, _ in self.imported.values()}
        return all(module.split(".")[0] in sys.stdlib_module_names for module in modules)

    def origin(self, name: str) -> tuple[str, str]:
        """Module and name behind a name that stands in this file."""
        return self.imported.get(name, (self.name, name))

    def evaluate(self, expression: ast.expr) -> Any:
        """The value of an expression in this file."""
        return _run(ast.Assign([ast.Name("value", ast.Store())], expression), self._names_in(expression))["value"]

    def run_class(self, node: ast.ClassDef) -> Any:
        """A dataclass of this file, without its methods: they are not called when flags are explained."""
        fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
        plain = copy(node)
        plain.body = [*fields] or [ast.Pass()]
        names = {**self._names_in(*node.bases, *(line.value for line in fields if line.value)), **STANDARD}
        return _run(plain, names)[node.name]

    def _names_in(self, *expressions: ast.expr) -> dict[str, Any]:
        """Values of the names in the expressions, from what this file declares or imports from files of ours."""
        used = {node.id for part in expressions for node in ast.walk(part) if isinstance(node, ast.Name)}
        names: dict[str, Any] = {}
        for name in used - set(dir(builtins)):
            module, inner = self.origin(name)
            if name in STANDARD:
                names[name] = STANDARD[name]
            elif module.removeprefix(PACKAGE).split(".")[0] in OURS:
                names[name] = declared(module.removeprefix(PACKAGE), inner)
        return names


class _Statement(importlib.abc.InspectLoader):
    """Loads a module that consists of one statement."""

    def __init__(self, statement: ast.stmt):
        self.tree = ast.fix_missing_locations(ast.Module([statement], []))

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return ast.unparse(self.tree)

    def get_code(self, fullname: str) -> CodeType:
        # Types stay texts, as in the files.
        return compile(self.tree, fullname, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)


def _run(statement: ast.stmt, names: dict[str, Any]) -> dict[str, Any]:
    """The names after `statement` has run with `names` as its globals."""
    # A dataclass looks up the module that it says it is in.
    spec = importlib.machinery.ModuleSpec(__name__, _Statement(statement))
    module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return vars(module)


def flag_field(
    *,
    help: str = "",
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    metadata: dict[str, Any] | None = None,
    **more: Any,
) -> Any:
    """What `HfArg` of transformers makes: a dataclass field with its help text, without importing transformers."""
    said = {**(metadata or {}), "help": help}
    return dataclasses.field(default=default, default_factory=default_factory, metadata=said, **more)


# The names that every file with flags imports.
STANDARD = {
    "HfArg": flag_field,
    "dataclass": dataclasses.dataclass,
    "field": dataclasses.field,
    "Literal": Literal,
    "ClassVar": ClassVar,
}
