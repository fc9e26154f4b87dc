"""Read a file into dates and channels, without changing a value."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from data_provider.tables.columns import date_columns_of, join_dates, value_columns_of
from data_provider.tables.dates import ParsedDates, Zone, parse_dates
from data_provider.tables.formats import OpenTable, open_table
from data_provider.tables.long_format import LongNames, series_column_of, to_wide, value_column_of
from data_provider.tables.numbers import (
    LARGEST_EXACT,
    PLAIN,
    NumberStyle,
    as_text,
    asked_style,
    inexact_integer,
    style_of,
    to_numbers,
)


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, as far as it is not found out; training and prediction share it.

    `columns` are the channels (default: all but the dates), `missing` the codes of empty cells; `date_column` may name
    two columns, date and time, with a comma between them.
    """

    date_column: str | None = None
    columns: tuple[str, ...] | None = None
    date_format: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    series_column: str | None = None
    value_column: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """Dates and values of a file, unchanged: nothing sorted, dropped or filled; missing cells are NaN.

    `unread` marks cells that hold something which is no number. `notes` are remarks on the reading, such as dates
    converted to UTC; `complaints` are the errors that a lenient reading ignored. `long` names the columns of a file in
    long format, and `absent` marks the dates that a series of it lacks, while others have them (else it is empty).
    """

    path: Path
    columns: list[str]
    dates: pd.DatetimeIndex
    values: np.ndarray
    date_column: str
    notes: list[str]
    complaints: list[str]
    zone: Zone | None = None
    unread: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    long: LongNames | None = None
    absent: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))

    @property
    def is_panel(self) -> bool:
        """Whether its columns are series with dates of their own."""
        return bool(self.absent.any())


def column_names(text: str | None) -> tuple[str, ...] | None:
    """The names in --columns, separated by commas; one with a comma in it stands in quotes. Raises ValueError."""
    if text is None:
        return None
    try:
        names = [" ".join(name.split()) for name in next(csv.reader([text], skipinitialspace=True), [])]
    except csv.Error as error:
        raise ValueError(f"--columns cannot be read as names separated by commas: {error}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        raise ValueError(f"--columns {text} names {'a column twice: ' + twice[0] if twice else 'an empty column'}")
    return tuple(names)


def read_table(path: Path, reading: Reading | None = None, *, lenient: bool = False) -> Table:
    """Read the table in `path`.

    Raises FileNotFoundError, or ValueError naming the column and the first invalid cell. `lenient` (for check and
    repair) turns invalid cells into missing ones and keeps the messages as complaints.
    """
    try:
        return _read(path, reading or Reading(), lenient=lenient)
    except (OverflowError, UnicodeDecodeError, pa.ArrowException) as error:
        # Typed files may hold dates, decimals or kinds of cells that have no value in Python.
        raise ValueError(f"{path} cannot be read as a table: {_one_line(error)}") from None


def _read(path: Path, reading: Reading, *, lenient: bool) -> Table:
    source = open_table(path, encoding=reading.encoding)
    date_names, date_notes = date_columns_of(source, reading.date_column)
    series_column = series_column_of(source.names, reading.series_column, source=str(path))
    if series_column is None:
        texts, (chosen, notes) = date_names, value_columns_of(source, date_names, reading.columns)
    else:
        others, notes = value_columns_of(source, [*date_names, series_column], None)
        texts, chosen = [*date_names, series_column], [value_column_of(others, reading.value_column, source=str(path))]
    columns = source.columns(texts, chosen, missing=reading.missing)
    if len(columns[date_names[0]]) == 0:
        raise ValueError(f"{path} has a header but no rows")
    _check_text(columns, path)
    name = date_names[0] if len(date_names) == 1 else " and ".join(date_names)
    parsed, complaints = _dates(join_dates(columns, date_names), name, reading, lenient=lenient, path=path)
    style, ambiguous = _style(columns, chosen, reading)
    table = Table(
        path,
        chosen,
        parsed.dates,
        np.empty((len(parsed.dates), len(chosen))),
        date_names[0],
        [*source.notes, *date_notes, *notes, *parsed.notes],
        complaints,
        zone=parsed.zone,
        unread=np.zeros((len(parsed.dates), len(chosen)), bool),
    )
    for channel, complaint in enumerate(_fill(table, source, columns, style, ambiguous)):
        if complaint is not None and parsed.dates.has_duplicates and series_column is None:
            complaint += f" (if it names the series of a table in long format: --series_column {chosen[channel]})"
        if complaint is not None and not lenient:
            raise ValueError(f"{path}: column {chosen[channel]} {complaint}: correct it, or choose the channels with "
                             "--columns")  # fmt: skip
        table.complaints.extend([f"column {chosen[channel]} {complaint}"] if complaint is not None else [])
    if style != PLAIN:
        table.notes.append(style.in_words)
    return table if series_column is None else _widened(table, as_text(columns[series_column]), series_column, reading)


def _check_text(columns: dict[str, pa.ChunkedArray], path: Path) -> None:
    """Check that text is UTF-8, which typed files only say of themselves. Raises ValueError."""
    for name, column in columns.items():
        try:
            if _is_text(column):
                column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: column {name} holds bytes that are no UTF-8 text ({_one_line(error)})") from None


def _widened(table: Table, ids: pd.Series, series_column: str, reading: Reading) -> Table:
    """The wide table of one in long format."""
    columns, dates, values, unread, absent = to_wide(
        ids.tolist(),
        table.dates,
        table.values[:, 0],
        table.unread[:, 0],
        wanted=reading.columns,
        source=str(table.path),
    )
    note = f"long format: {len(columns)} series of {series_column}, each a channel with a scaler of its own"
    return replace(
        table,
        columns=columns,
        dates=dates,
        values=values,
        unread=unread,
        notes=[note, *table.notes],
        long=LongNames(series_column, table.date_column, table.columns[0]),
        absent=absent if absent.any() else np.zeros((0, 0), bool),
    )


def _fill(
    table: Table,
    source: OpenTable,
    columns: dict[str, pa.ChunkedArray],
    style: NumberStyle,
    ambiguous: str | None,
) -> list[str | None]:
    """Fill in values and unread cells. Returns a complaint for each channel, or None."""
    complaints: list[str | None] = []
    for channel, name in enumerate(table.columns):
        values, unread, text = to_numbers(columns[name], style)
        table.values[:, channel], table.unread[:, channel] = values, unread
        complaint = None
        if unread.any() and text is not None:
            row = int(unread.argmax())
            reason = f" ({ambiguous})" if ambiguous else ", which is not a number"
            complaint = f"holds {str(text.iloc[row])!r} in data row {row + 1}{reason}"
        elif (np.abs(values) >= LARGEST_EXACT).any():
            kept = columns[name] if pa.types.is_integer(columns[name].type) else source.columns([name], [])[name]
            inexact = inexact_integer(kept) if not pa.types.is_floating(kept.type) else None
            if inexact is not None:
                complaint = (
                    f"holds {inexact[1]} in data row {inexact[0] + 1}, an integer beyond 2**53 that float64 cannot hold"
                )
                table.unread[inexact[0], channel] = True
        complaints.append(complaint)
    return complaints


def _style(
    columns: dict[str, pa.ChunkedArray], chosen: Sequence[str], reading: Reading
) -> tuple[NumberStyle, str | None]:
    asked = asked_style(reading.decimal, reading.thousands)
    if asked is not None:
        return asked, None
    text = {name: as_text(columns[name]) for name in chosen if _is_text(columns[name])}
    return style_of(text)


def _is_text(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _dates(
    column: pd.Series, name: str, reading: Reading, *, lenient: bool, path: Path
) -> tuple[ParsedDates, list[str]]:
    try:
        return parse_dates(column, name=name, date_format=reading.date_format), []
    except ValueError as error:
        if not lenient:
            raise ValueError(f"{path}: {error}") from None
        try:
            return parse_dates(column, name=name, date_format=reading.date_format, lenient=True), [str(error)]
        except ValueError as hopeless:
            raise ValueError(f"{path}: {hopeless}") from None


def _one_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return re.sub(r"[^\x20-\x7e]+", "?", line)[:200]
