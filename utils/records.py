"""Values read from a file, held against values of the shape that they should have."""

from __future__ import annotations

import math
from typing import Any


def check_alike(found: Any, like: Any, name: str) -> None:
    """A ValueError names the place where JSON values differ from `like` in kind: keys, lengths, numbers, words.

    Whole numbers stand for each other only, any finite number for a real one; None and truth values for themselves.
    """
    if isinstance(like, dict):
        if not isinstance(found, dict) or set(found) != set(like):
            raise ValueError(f"{name} should have the entries {sorted(like)}")
        for key, value in like.items():
            check_alike(found[key], value, f"{name}/{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            raise ValueError(f"{name} should be a list of {len(like)}")
        for number, (value, model) in enumerate(zip(found, like, strict=True)):
            check_alike(value, model, f"{name}/{number}")
    elif not _is_of_kind(found, like):
        raise ValueError(f"{name} is {found!r}")


def _is_of_kind(found: Any, like: Any) -> bool:
    if isinstance(like, bool) or like is None:
        return type(found) is type(like)
    if isinstance(like, float):
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return type(found) is type(like)
