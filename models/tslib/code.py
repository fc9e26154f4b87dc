"""The source files of a checkout that a model runs: which they are, their hashes, and a check of recorded ones."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path


def code_hashes(checkout: Path, name: str) -> dict[str, str]:
    """Path in the checkout -> SHA-256 of `models/NAME.py` and of every file of the checkout that it imports.

    Imports are read from the source, those inside functions too; names that are put together at run time are not found.
    """
    found: dict[str, str] = {}
    waiting = [f"models/{name}.py", "models/__init__.py"]
    while waiting:
        path = waiting.pop()
        if path in found or not (checkout / path).is_file():
            continue
        source = (checkout / path).read_bytes()
        found[path] = sha256_of_source(source)
        waiting += _imported(path, source)
    return dict(sorted(found.items()))


def check_code(checkout: Path, recorded: Mapping[str, str], *, name: str) -> None:
    """Check, without running any of it, that the checkout holds the `recorded` files. Raises ValueError."""
    for path, sha256 in recorded.items():
        file = checkout / path
        # The record may be anybody's: only source files of the checkout are opened.
        is_within = path.endswith(".py") and not path.startswith("/") and not {"..", "\0"} & {*path.split("/"), *path}
        found = sha256_of_source(file.read_bytes()) if is_within and file.is_file() else None
        if found != sha256:
            reason = "is missing" if found is None else f"has SHA-256 {found[:12]}... instead of {sha256[:12]}..."
            raise ValueError(
                f"--tslib_path {checkout}: {path} {reason}, so it is not the code that tslib:{name} was trained with: "
                "name the checkout of the training"
            )


def sha256_of_source(source: bytes) -> str:
    """SHA-256 of a source file, the same with Windows line ends."""
    return hashlib.sha256(source.replace(b"\r\n", b"\n")).hexdigest()


def _imported(path: str, source: bytes) -> Iterator[str]:
    """Paths that the file may import from the checkout, with the packages they lie in; some may not exist."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = [*start, *(node.module.split(".") if node.module else [])]
            modules = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for parts in modules:
            for length in range(1, len(parts) + 1):
                yield "/".join(parts[:length]) + ".py"
                yield "/".join([*parts[:length], "__init__.py"])
