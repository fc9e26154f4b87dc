"""Import from a checkout of Time-Series-Library, whose packages have our names: `layers`, `models`, `utils`.

Modules of the checkout are loaded under a private package, in which their import statements are resolved first, even
when they run later. `sys.path` and our own modules are unchanged, and nothing is written into the checkout.
"""

from __future__ import annotations

import builtins
import difflib
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from models.tslib.code import sha256_of_source


def import_model_file(checkout: Path, name: str, *, allowed: Mapping[str, str] | None = None) -> ModuleType:
    """Import `models/NAME.py` of `checkout`; with `allowed` (path -> SHA-256) no other file of it is ever run.

    Raises FileNotFoundError if the folder or file is missing, ValueError if one of its imports fails.
    """
    if not (checkout / "models").is_dir():
        raise FileNotFoundError(
            f"--tslib_path {checkout} must be a checkout of Time-Series-Library, but has no folder models: clone "
            "https://github.com/thuml/Time-Series-Library and give its path"
        )
    if not (checkout / "models" / f"{name}.py").is_file():
        there = sorted(file.stem for file in (checkout / "models").glob("*.py") if file.stem != "__init__")
        near = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or there
        raise FileNotFoundError(
            f"--model tslib:{name} needs {checkout}/models/{name}.py, which is missing: choose one of {', '.join(near)}"
        )
    try:
        return importlib.import_module(f"{_package_of(checkout.resolve(), allowed)}.models.{name}")
    except ImportError as error:
        raise ValueError(
            f"--model tslib:{name} cannot be imported from {checkout} ({error}): install what it needs"
        ) from error


def _package_of(root: Path, allowed: Mapping[str, str] | None) -> str:
    """Name of the private package for the checkout's modules, created on first use; one for each set of hashes."""
    key = f"{root}{sorted(allowed.items()) if allowed is not None else ''}"
    name = f"_tslib_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        package = ModuleType(name, f"Time-Series-Library at {root}")
        package.__path__ = [str(root)]
        sys.meta_path.insert(0, _CheckoutFinder(name, root, allowed))
        sys.modules[name] = package
    return name


class _CheckoutFinder:
    """Meta path finder for the modules of one private package."""

    def __init__(self, package: str, root: Path, allowed: Mapping[str, str] | None) -> None:
        self.package, self.root, self.allowed = package, root, allowed
        self.builtins = {**vars(builtins), "__import__": _import_function(package, root)}

    def find_spec(
        self, fullname: str, path: Iterable[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(fullname, None if path is None else list(path), target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            file = spec.loader.path
            relative = Path(file).relative_to(self.root).as_posix()
            sha256 = None if self.allowed is None else self.allowed.get(relative, "")
            spec.loader = _CheckoutLoader(fullname, file, self.builtins, sha256)
        elif self.allowed is not None and spec is not None and spec.has_location:
            raise ImportError(f"{spec.origin} is no source file, so it was not recorded in training and is not run")
        return spec


class _CheckoutLoader(SourceFileLoader):
    """Loads a module of the checkout with its own `__import__`; reads and writes no bytecode.

    With a `sha256` only that source is run (an empty one: none).
    """

    def __init__(self, fullname: str, path: str, module_builtins: dict[str, Any], sha256: str | None) -> None:
        super().__init__(fullname, path)
        self.builtins, self.sha256 = module_builtins, sha256

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        """Compile the source, which bytecode beside it (not hashed, and from anywhere) may not stand for."""
        source = self.get_data(self.path)
        if self.sha256 is not None and sha256_of_source(source) != self.sha256:
            raise ImportError(f"{self.path} is not a file that was recorded in training, so it is not run")
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        # Python looks up `__import__` in the builtins of the importing module.
        vars(module)["__builtins__"] = self.builtins
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no bytecode into the checkout."""


def _import_function(package: str, root: Path) -> Callable[..., ModuleType]:
    def import_for_checkout(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not _is_in_checkout(root, top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{package}.{top}"]

    return import_for_checkout


def _is_in_checkout(root: Path, top: str) -> bool:
    """Whether `top` is a module or package of the checkout (a folder without Python files, such as `wandb`, is not)."""
    return (root / f"{top}.py").is_file() or any((root / top).glob("*.py"))
