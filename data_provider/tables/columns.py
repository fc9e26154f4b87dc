"""Which columns of a table are its dates and which its channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from data_provider.tables.formats import OpenTable

DATE_NAMES = (
    "date",
    "datetime",
    "timestamp",
    "time",
    "ts",
    "ds",
    "date_time",
    "datum",
    "zeitstempel",
    "fecha",
    "日期",
    "时间",
)
TIME_NAMES = ("time", "hour", "clock", "time_of_day", "uhrzeit", "zeit")
_UNNAMED = re.compile(r"Unnamed: \d+")
_DATE = re.compile(r"\d{4}[-/.]?\d{2}[-/.]?\d{2}($|[ T])|\d{1,2}([/.-])\d{1,2}\2\d{2,4}($|[ T])")
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?")


def date_columns_of(source: OpenTable, asked: str | None) -> tuple[list[str], list[str]]:
    """The column of dates, or the two of date and time, and remarks. Raises ValueError if there is none."""
    names = source.names
    if asked is not None:
        parts = [asked] if asked in names else [part.strip() for part in asked.split(",")]
        missing = [part for part in parts if part not in names]
        if missing or len(parts) > 2:
            raise ValueError(f"--date_column {asked} is not a column of {source.path}, which has: {listed(names)}")
        return parts, []
    timed = [name for name, kind in source.types.items() if pa.types.is_timestamp(kind) or pa.types.is_date(kind)]
    known = [name for wanted in DATE_NAMES for name in names if name.lower() == wanted]
    for found in (known, timed):
        if found:
            return _with_time(source, found[0])
    # The index of a `to_csv()` file has no name: its dates are told by what they look like.
    alike = [name for name in names if _UNNAMED.fullmatch(name) and _all_match(_DATE, source.head(name))]
    if len(alike) == 1:
        found, notes = _with_time(source, alike[0])
        return found, ["the dates are in the column without a name", *notes]
    raise ValueError(f"{source.path} has no column called date: name it with --date_column, one of: {listed(names)}")


def value_columns_of(
    source: OpenTable, date_names: Sequence[str], asked: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The channels, and remarks on columns that are left out. Raises ValueError."""
    names, path, notes = source.names, source.path, []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column called {listed(twice)}: rename one")
    missing = [name for name in asked or () if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {listed(missing)}: its columns are {listed(names)}")
    in_both = [name for name in asked or () if name in date_names]
    if in_both:
        raise ValueError(f"--columns names {in_both[0]}, which is the date column of {path}: leave it out")
    if asked:
        return list(asked), []
    chosen = [name for name in names if name not in date_names]
    for name in [name for name in chosen if _UNNAMED.fullmatch(name)]:
        kind = _kind_of_unnamed(source, name)
        place = names.index(name) + 1
        if kind is None:
            raise ValueError(
                f"{path}: column {place} has no name in the header: name it, or choose the channels with --columns"
            )
        chosen.remove(name)
        notes.append(f"column {place}, without a name, is left out: {kind}")
    if not chosen:
        raise ValueError(
            f"{path} has no column beside its dates ({', '.join(date_names)}): at least one channel is needed"
        )
    return chosen, notes


def join_dates(columns: dict[str, pa.ChunkedArray], names: Sequence[str]) -> pd.Series:
    """The column of dates; a date and a time of day in two columns become one text."""
    dates = columns[names[0]].to_pandas()
    if len(names) == 1:
        return dates
    if pd.api.types.is_datetime64_any_dtype(dates):
        dates = dates.dt.strftime("%Y-%m-%d")
    times = pd.Series(columns[names[1]].to_pandas()).astype("string").str.strip()
    # An hour alone: `7` or `7.0` means 07:00.
    hours = times.str.replace(r"^(\d{1,2})(\.0*)?$", r"\1:00", regex=True)
    return pd.Series(dates).astype("string").str.strip() + " " + hours


def listed(names: Sequence[str]) -> str:
    """A dozen names, and how many more there are."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _with_time(source: OpenTable, name: str) -> tuple[list[str], list[str]]:
    """The date column, with the column of times where the dates are days."""
    if any(":" in cell.removesuffix("00:00:00") for cell in source.head(name)):
        return [name], []
    for other in source.names:
        if other != name and other.lower() in TIME_NAMES and _all_match(_TIME, source.head(other)):
            return [name, other], [f"dates are read from the columns {name} and {other}"]
    return [name], []


def _all_match(pattern: re.Pattern[str], cells: Sequence[str]) -> bool:
    return bool(cells) and all(pattern.match(cell) for cell in cells)


def _kind_of_unnamed(source: OpenTable, name: str) -> str | None:
    """Why a column without a name is no channel: it is empty, or counts the rows."""
    column = source.columns([name], [])[name]
    if column.null_count == len(column):
        return "it is empty"
    cells: Any = pd.to_numeric(pd.Series(column.to_pandas()).astype("string"), errors="coerce")
    counts = cells.notna().all() and len(cells) > 1 and bool((cells.diff().iloc[1:] == 1).all())
    return "it counts the rows" if counts else None
