"""Numbers as people write them: decimal commas and thousands separators, read where they are certain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

_SPACES = "[ \u00a0\u202f'’]"
_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|Inf|INF|infinity|Infinity|nan)"
_GROUPS = {",": r"\d{1,3}(?:,\d{3})+", ".": r"\d{1,3}(?:\.\d{3})+", " ": rf"\d{{1,3}}(?:{_SPACES}\d{{3}})+"}
_EXPONENT = r"(?:[eE][+-]?\d+)?"
LARGEST_EXACT = 2.0**53
# Of a number that a message shows.
MAX_DIGITS = 40


@dataclass(frozen=True)
class NumberStyle:
    """The decimal mark, and the mark between thousands ("" for none, " " for any space or apostrophe)."""

    decimal: str = "."
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """What a cell of this style looks like."""
        whole = rf"(?:{_GROUPS[self.thousands]}|\d+)" if self.thousands else r"\d+"
        mark = re.escape(self.decimal)
        return rf"[+-]?(?:{whole}(?:{mark}\d*)?|{mark}\d+){_EXPONENT}"

    @property
    def in_words(self) -> str:
        """For a remark or an error."""
        parts = [f"decimal comma: read with --decimal {self.decimal}"] if self.decimal == "," else []
        if self.thousands:
            shown = "space" if self.thousands == " " else self.thousands
            parts.append(f"thousands separator: read with --thousands {shown}")
        return "; ".join(parts)


PLAIN = NumberStyle()
_CERTAIN = (
    NumberStyle(",", "."),
    NumberStyle(",", ""),
    NumberStyle(",", " "),
    NumberStyle(".", ","),
    NumberStyle(".", " "),
    NumberStyle(".", "."),
)


def asked_style(decimal: str | None, thousands: str | None) -> NumberStyle | None:
    """The style of --decimal and --thousands; None if neither is given. Raises ValueError."""
    if decimal is None and thousands is None:
        return None
    thousands = {"space": " ", "none": "", None: ""}.get(thousands, thousands)
    decimal = decimal or ("," if thousands == "." else ".")
    if decimal not in (".", ",") or thousands not in ("", ".", ",", " ") or decimal == thousands:
        raise ValueError(
            f"--decimal must be . or , and --thousands another of . , space none, got {decimal} {thousands}"
        )
    return NumberStyle(decimal, thousands or "")


def style_of(columns: Mapping[str, pd.Series]) -> tuple[NumberStyle, str | None]:
    """The style of a file's cells, and a complaint if they can be read two ways; numbers of programs are plain.

    A cell such as 1.234,5 or 0,5 or 1,234.5 is certain, and so is then the rest of the file; 1,234 alone is not.
    """
    text = pd.concat([cells.dropna() for cells in columns.values()]).unique() if columns else np.array([])
    cells = pd.Series(text, dtype="string").str.strip()
    odd = cells[~cells.str.fullmatch(_PLAIN)]
    groups_only = rf"[+-]?(?:{_GROUPS[',']})"
    marked = odd[odd.str.fullmatch(rf"[+-]?[\d., \u00a0\u202f'’]*\d[\d.,]*{_EXPONENT}") & odd.str.contains(r"[.,'’ ]")]
    if len(marked) == 0:
        return PLAIN, None
    leading_zero = marked.str.match(r"[+-]?0,")
    if bool((marked.str.fullmatch(groups_only) & ~leading_zero & (marked.str.count(",") == 1)).all()):
        cell = str(marked.iloc[0])
        both = f"{cell} can be {cell.replace(',', '')} or {cell.replace(',', '.')}"
        return PLAIN, f"{both}: give --thousands , or --decimal ,"
    dots = cells[cells.str.fullmatch(rf"[+-]?{_GROUPS['.']}(?:,\d+)?")]
    candidates = [style for style in _CERTAIN if bool(marked.str.fullmatch(style.pattern).all())]
    if not candidates:
        # Some cells are no numbers in any style: the style that fits the most of them is named in the complaint.
        counts = {style: int(marked.str.fullmatch(style.pattern).sum()) for style in _CERTAIN}
        best = max(counts, key=lambda style: counts[style])
        return (best, None) if counts[best] > 0.5 * len(marked) else (PLAIN, None)
    if NumberStyle(",", ".") in candidates:
        return NumberStyle(",", "." if len(dots) else ""), None
    return candidates[0], None


def to_numbers(column: pa.ChunkedArray, style: NumberStyle) -> tuple[np.ndarray, np.ndarray, pd.Series | None]:
    """The column as float64, where its cells hold something that is no number, and its text if it is text."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return values, np.zeros(len(values), bool), None
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return values, np.zeros(len(values), bool), None
    text = as_text(column)
    numbers = _parsed(text, style)
    return (
        numbers,
        np.isnan(numbers) & text.notna().to_numpy() & ~text.str.lower().eq("nan").fillna(False).to_numpy(bool),
        text,
    )


def as_text(column: pa.ChunkedArray) -> pd.Series:
    """The column as stripped text. Raises UnicodeDecodeError for a typed file whose text is no text."""
    return pd.Series(column.to_pandas()).astype("string").str.strip()


def inexact_integer(column: pa.ChunkedArray) -> tuple[int, str] | None:
    """Row and text, shortened, of the first integer that float64 cannot hold, beyond 2**53; None if there is none."""
    if pa.types.is_integer(column.type):
        whole: Any = column.to_pandas(integer_object_nulls=True)
        cells = {row: str(cell) for row, cell in enumerate(whole) if cell is not None and abs(int(cell)) > 2**53}
    else:
        text: Any = as_text(column)
        long: Any = text[text.str.fullmatch(r"[+-]?\d{16,}").fillna(False)]
        cells = {int(row): str(cell) for row, cell in long.items()}
    row = next((row for row, cell in cells.items() if not _is_exact(cell)), None)
    if row is None:
        return None
    cell = cells[row]
    return row, cell if len(cell) <= MAX_DIGITS else f"{cell[:MAX_DIGITS]}... ({len(cell)} digits)"


def _is_exact(cell: str) -> bool:
    try:
        return int(float(cell)) == int(cell)
    except (OverflowError, ValueError):
        # Beyond what float64 holds (as "inf"), or more digits than Python converts.
        return False


def _parsed(text: pd.Series, style: NumberStyle) -> np.ndarray:
    if style != PLAIN:
        fits = text.str.fullmatch(style.pattern).fillna(False)
        stripped = text
        if style.thousands:
            stripped = stripped.str.replace(
                _SPACES if style.thousands == " " else re.escape(style.thousands), "", regex=True
            )
        stripped = stripped.str.replace(style.decimal, ".", regex=False) if style.decimal != "." else stripped
        text = stripped.where(fits)
    return pd.Series(pd.to_numeric(text, errors="coerce")).to_numpy(dtype=np.float64, na_value=np.nan)
