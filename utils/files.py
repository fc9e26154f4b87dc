"""Files that a reader never sees half-written: written beside their place, flushed, and renamed into it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` in place of `path` in one step; on an error the old file stays and nothing is left beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON; NaN and infinities are refused, since JSON has none."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file; a ValueError names the file when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}): the folder is damaged") from error


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, the whole file replaced at once."""
    replace_file(path, "".join(json.dumps(value) + "\n" for value in values).encode())
