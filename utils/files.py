"""Files that a reader never sees half-written: written beside their place, flushed, and renamed into it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PART = ".part"


class CannotWrite(OSError):
    """A file could not be written; what was in its place before is still there."""


class DamagedFile(OSError):
    """A file is there but does not hold what it should."""


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` in place of `path` in one step; a CannotWrite says why not, and then the old file is kept.

    The folder must exist: one that has been removed under a running program is not made again.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        _remove_quietly(beside)
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror or error}): what was there before is kept; make room or mend "
            "the folder, then give the same command again"
        ) from error
    except BaseException:
        _remove_quietly(beside)
        raise


def remove_parts(folder: Path) -> None:
    """Removes what killed writers left beside their places in `folder` (not below it)."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON; NaN and infinities are refused (ValueError), since JSON has none."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file; a DamagedFile names it when it is not JSON, a FileNotFoundError when it is missing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is not a readable JSON file ({error}): the folder is damaged") from error


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, the whole file replaced at once; NaN and infinities are refused (ValueError)."""
    replace_file(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())


def _remove_quietly(path: Path) -> None:
    # Whatever prevents this too is the error that is already on its way.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
