"""Checking a value against a schema."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from utils.files import DamagedFile

MAX_SHOWN = 60


def checked(value: Any, schema: Any, source: object) -> Any:
    """`value`, if it fits the schema. Raises DamagedFile, which names `source`, the place in it and what is there."""
    try:
        _adapter(schema).validate_python(value, strict=True)
    except (ValidationError, RecursionError, ArithmeticError, UnicodeError) as error:
        raise DamagedFile(f"{source}: {_reason(error)}") from error
    return value


@cache
def _adapter(schema: Any) -> Any:
    return TypeAdapter(schema)


def _reason(error: ValidationError | RecursionError | ArithmeticError | UnicodeError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "a text in it has halves of characters"
    if isinstance(error, ArithmeticError):
        return f"a number in it is out of range ({error})"
    first = error.errors(include_url=False)[0]
    place = "/".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    found = "" if first["type"] in ("missing", "value_error") else f", not {shown(first['input'])}"
    return f"{place}: {message}{found}" if place else f"{message}{found}"


def shown(value: Any) -> str:
    """A value of somebody else's file, shortened."""
    try:
        return repr(value)[:MAX_SHOWN]
    except (ValueError, RecursionError):  # thousands of digits, nested without end
        return f"this {type(value).__name__}"
