"""Read a CSV or Parquet file into dates and channels, without changing a value."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from data_provider.tables.dates import parse_dates

_DATE_NAMES = ("date", "datetime", "timestamp", "time", "ts", "ds", "date_time")
PARQUET_SUFFIXES = (".parquet", ".pq")
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "-"]


@dataclass(frozen=True, eq=False)
class Table:
    """Dates and values of a file, unchanged: nothing sorted, dropped or filled; missing cells are NaN.

    `notes` are remarks on the reading, such as dates converted to UTC; `complaints` are the errors that a lenient
    reading ignored.
    """

    path: Path
    columns: list[str]
    dates: pd.DatetimeIndex
    values: np.ndarray
    date_column: str
    notes: list[str]
    complaints: list[str]


def read_table(
    path: Path, *, date_column: str | None = None, columns: list[str] | None = None, lenient: bool = False
) -> Table:
    """Read the table in `path` with the channels `columns` (default: all but the date column).

    Raises FileNotFoundError, or ValueError naming the column and the first invalid cell. `lenient` (for check and
    repair) turns invalid cells into missing ones and keeps the messages as complaints.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give an existing CSV or Parquet file as --data_path")
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES
    try:
        names, types = _parquet_columns(path) if is_parquet else (_csv_header(path), {})
        date_name = _find_date_column(names, types, asked=date_column, path=path)
        chosen = columns or [name for name in names if name != date_name]
        _check_columns(names, chosen, date_name, path=path)
        table = _read_parquet(path, [date_name, *chosen]) if is_parquet else _read_csv(path, [date_name, *chosen])
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if table.num_rows == 0:
        raise ValueError(f"{path} has a header but no rows")
    try:
        dates_as_read = table.column(date_name).to_pandas()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: column {date_name} holds bytes that are no UTF-8 text ({error})") from None
    dates, note, complaints = _dates(dates_as_read, date_name, lenient=lenient, path=path)
    values = np.empty((table.num_rows, len(chosen)))
    for channel, name in enumerate(chosen):
        try:
            values[:, channel], complaint = _numbers(table.column(name), name)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: column {name} holds bytes that are no UTF-8 text ({error})") from None
        if complaint is not None and not lenient:
            raise ValueError(f"{path}: {complaint}: correct it, or choose the channels with --columns")
        complaints += [complaint] if complaint is not None else []
    return Table(path, chosen, dates, values, date_name, [note] if note else [], complaints)


def _dates(
    column: pd.Series, name: str, *, lenient: bool, path: Path
) -> tuple[pd.DatetimeIndex, str | None, list[str]]:
    try:
        return *parse_dates(column, name=name), []
    except ValueError as error:
        if not lenient:
            raise ValueError(f"{path}: {error}") from None
        try:
            return *parse_dates(column, name=name, lenient=True), [str(error)]
        except ValueError as hopeless:
            raise ValueError(f"{path}: {hopeless}") from None


def _encoding(path: Path) -> str:
    """UTF-8, or Latin-1 if the header is not UTF-8 (the degree and micro signs of Weather)."""
    with path.open("rb") as file:
        header = file.readline()
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig" if header.startswith(b"\xef\xbb\xbf") else "utf-8"


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding=_encoding(path), newline="") as file:
        line = file.readline()
    if not line.strip():
        raise ValueError(f"{path} is empty: a header line with a date column and at least one channel is needed")
    try:
        names = next(csv.reader([line], delimiter=_delimiter(line)))
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table: its header line is no CSV ({error})") from None
    return [name.strip() for name in names]


def _parquet_columns(path: Path) -> tuple[list[str], dict[str, pa.DataType]]:
    schema = pyarrow.parquet.read_schema(path)
    return schema.names, dict(zip(schema.names, schema.types, strict=True))


def _find_date_column(names: list[str], types: dict[str, pa.DataType], *, asked: str | None, path: Path) -> str:
    if asked is not None:
        if asked not in names:
            raise ValueError(f"--date_column {asked} is not a column of {path}, which has: {_listed(names)}")
        return asked
    timed = [name for name, kind in types.items() if pa.types.is_timestamp(kind) or pa.types.is_date(kind)]
    known = [name for wanted in _DATE_NAMES for name in names if name.lower() == wanted]
    for found in (known, timed):
        if found:
            return found[0]
    raise ValueError(f"{path} has no column called date: name it with --date_column, one of: {_listed(names)}")


def _check_columns(names: list[str], chosen: list[str], date_name: str, *, path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column called {_listed(twice)}: rename one")
    missing = [name for name in chosen if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {_listed(missing)}: its columns are {_listed(names)}")
    if date_name in chosen:
        raise ValueError(f"--columns names {date_name}, which is the date column of {path}: leave it out")
    if not chosen:
        raise ValueError(f"{path} has no column beside its dates ({date_name}): at least one channel is needed")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _read_csv(path: Path, wanted: list[str]) -> pa.Table:
    """The columns as numbers, or all as text if a cell is not a number, so that the error can name it."""
    numbers = {name: pa.float64() for name in wanted[1:]}
    try:
        return _parse_csv(path, types={wanted[0]: pa.string(), **numbers})
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
    return _parse_csv(path, types=dict.fromkeys(wanted, pa.string()))


def _parse_csv(path: Path, *, types: dict[str, pa.DataType]) -> pa.Table:
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as file:
        delimiter = _delimiter(file.readline())
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(
            column_names=_csv_header(path), skip_rows=1, encoding=encoding.removesuffix("-sig")
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=_MISSING, strings_can_be_null=True
        ),
    )


def _read_parquet(path: Path, wanted: list[str]) -> pa.Table:
    return pyarrow.parquet.read_table(path, columns=wanted)


def _numbers(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, str | None]:
    """The column as float64 with NaN for missing or invalid cells, and a complaint about the first invalid one."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False), None
    text = pd.Series(column.to_pandas()).astype("string")
    numbers = pd.Series(pd.to_numeric(text, errors="coerce")).to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isnan(numbers) & text.notna().to_numpy()
    if not bad.any():
        return numbers, None
    row = int(bad.argmax())
    return numbers, f"column {name} holds {text.iloc[row]!r} in data row {row + 1}, which is not a number"
