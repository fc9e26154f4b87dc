"""Input table of a forecast: read from a file or data frame, and validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from data_provider.tables.calendars import irregularity
from data_provider.tables.columns import DATE_NAMES
from data_provider.tables.dates import ParsedDates, Zone, parse_dates
from data_provider.tables.long_format import LongNames, series_column_of, to_wide, value_column_of
from data_provider.tables.table import Reading, read_table
from utils.time_steps import gaps

SOURCE = "the data frame"


@dataclass(frozen=True, eq=False)
class InputTable:
    """Dates without time zone, and values in original units: columns in the order of training, NaN for empty cells.

    `source` names the table in messages, `notes` are remarks for the log, `zone` is that of the forecast's dates,
    `long` the columns of a table in long format, which the forecast has, too, and `absent` its rows that a series
    lacks while others have them (else it is empty). `known` are columns whose future is known, up to a horizon after
    the last date.
    """

    source: str
    dates: pd.DatetimeIndex
    values: Float[ndarray, "time channel"]
    notes: list[str]
    zone: Zone | None = None
    long: LongNames | None = None
    known: Float[ndarray, "known_time known_column"] = field(default_factory=lambda: np.zeros((0, 0)))
    absent: Bool[ndarray, "rows series"] = field(default_factory=lambda: np.zeros((0, 0), bool))


def input_table_of_file(path: Path, columns: Sequence[str], reading: Reading) -> InputTable:
    """Read the columns, by name, of a file. Raises ValueError or FileNotFoundError."""
    table = read_table(path, replace(reading, columns=tuple(columns)))
    return InputTable(str(path), table.dates, table.values, table.notes, table.zone, table.long, absent=table.absent)


def panel_of_file(path: Path, columns: Sequence[str], reading: Reading) -> InputTable:
    """Read those of the series `columns` that a file in long format holds. Raises ValueError or FileNotFoundError."""
    table = read_table(path, replace(reading, columns=None))
    if table.long is None:
        raise ValueError(
            f"{path} is not in long format, but the run was trained on series with dates of their own: give a table "
            "with a row for each date of each series"
        )
    found = InputTable(str(path), table.dates, table.values, table.notes, table.zone, table.long, absent=table.absent)
    return of_columns(found, table.columns, columns)


def of_columns(table: InputTable, names: Sequence[str], wanted: Sequence[str]) -> InputTable:
    """The `wanted` series of a table whose columns are `names`, in that order; those it lacks have no rows."""
    places = {name: place for place, name in enumerate(names)}
    values = np.full((len(table.dates), len(wanted)), np.nan)
    absent = np.ones(values.shape, bool)
    for number, name in enumerate(wanted):
        if name in places:
            values[:, number] = table.values[:, places[name]]
            absent[:, number] = table.absent[:, places[name]] if table.absent.size else False
    if absent.all():
        raise ValueError(f"{table.source} holds none of the series of the run: {', '.join(wanted[:8])}")
    return replace(table, values=values, absent=absent)


def series_of(table: InputTable, channel: int, name: str) -> InputTable:
    """The table of one series of a panel: the rows that it has."""
    rows = ~table.absent[:, channel]
    return replace(
        table,
        source=f"{table.source}, series {name}",
        dates=table.dates[rows],
        values=table.values[rows][:, [channel]],
        absent=np.zeros((0, 0), bool),
        notes=[],
    )


def input_table_of_frame(
    frame: pd.DataFrame,
    columns: Sequence[str],
    *,
    date_column: str | None,
    reading: Reading | None = None,
    is_panel: bool = False,
) -> InputTable:
    """Take the columns, by name, of a data frame whose dates are a column or the index. Raises ValueError.

    If the columns are those of a panel, a frame in long format need not hold them all.
    """
    # Names as a file of the same columns would have them.
    frame = frame.rename(columns=lambda name: " ".join(str(name).split()))
    reading = reading or Reading()
    names = list(frame.columns)
    series = series_column_of(names, reading.series_column if reading.series_column in names else None, source=SOURCE)
    missing = [name for name in columns if name not in names] if series is None and not is_panel else []
    if missing:
        known = ", ".join(frame.columns)
        raise ValueError(f"the data frame has no column {', '.join(missing)}: its columns are {known}")
    if len(frame) == 0:
        raise ValueError("the data frame has no rows")
    known = [date_column] if date_column else [name for name in frame.columns if name.lower() in DATE_NAMES]
    name = next((name for name in known if name in frame.columns and name not in columns), None)
    if name is None and not isinstance(frame.index, pd.DatetimeIndex):
        raise ValueError("the data frame has neither a column called date nor dates as its index: name --date_column")
    column = pd.Series(frame.index if name is None else frame[name]).reset_index(drop=True)
    parsed = parse_dates(column, name=str(name or "index"), date_format=reading.date_format)
    if series is not None:
        return _of_long_frame(frame, columns, str(name), series, parsed, reading, is_panel=is_panel)
    if is_panel:
        raise ValueError(
            "the data frame is not in long format, but the run was trained on series with dates of their own: give one "
            "with a row for each date of each series"
        )
    try:
        values = frame[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the data frame holds a cell that is not a number: {error}") from error
    return InputTable(SOURCE, parsed.dates, values, list(parsed.notes), parsed.zone)


def _of_long_frame(
    frame: pd.DataFrame,
    columns: Sequence[str],
    date: str,
    series: str,
    parsed: ParsedDates,
    reading: Reading,
    *,
    is_panel: bool,
) -> InputTable:
    others = [name for name in frame.columns if name not in (date, series)]
    value = value_column_of(others, reading.value_column, source=SOURCE)
    cells = frame[value].to_numpy(dtype=np.float64, na_value=np.nan)
    ids, unread = frame[series].astype(str).tolist(), np.zeros(len(frame), bool)
    wanted = None if is_panel else columns
    found, dates, values, _, absent = to_wide(ids, parsed.dates, cells, unread, wanted=wanted, source=SOURCE)
    names = LongNames(series, date, value)
    table = InputTable(SOURCE, dates, values, list(parsed.notes), parsed.zone, names, absent=absent)
    return of_columns(table, found, columns) if is_panel else table


def last_rows(table: InputTable, num_rows: int) -> InputTable:
    """The last `num_rows` rows. Raises ValueError if there are fewer."""
    if len(table.dates) < num_rows:
        raise ValueError(
            f"{table.source} has {len(table.dates)} rows, but a forecast of this run reads the last --seq_len "
            f"{num_rows}: give at least {num_rows} rows"
        )
    return replace(table, dates=table.dates[-num_rows:], values=table.values[-num_rows:])


def check_input_table(table: InputTable, columns: Sequence[str], *, time_step: str) -> list[str]:
    """Validate `table`. Returns notes on gaps in its dates.

    Raises ValueError for an empty cell, dates out of order, or a time step other than that of training.
    """
    source, dates = table.source, table.dates
    wrong = ~np.isfinite(table.values)
    if wrong.any():
        row, channel = (int(index) for index in np.argwhere(wrong)[-1])
        raise ValueError(
            f"{source}: column {columns[channel]} has no number at {dates[row]}, inside the look-back "
            f"({int(wrong.sum())} such cells): fill it, for example by `python -m data_provider.check FILE --fix "
            "interpolate`"
        )
    ahead = np.diff(dates.asi8)
    if (ahead <= 0).any():
        row = int((ahead <= 0).argmax())
        raise ValueError(
            f"{source}: dates must rise from row to row, but {dates[row + 1]} follows {dates[row]}: "
            "`python -m data_provider.check FILE --fix interpolate` writes a repaired copy"
        )
    reason = irregularity(dates, time_step)
    if reason is not None:
        raise ValueError(
            f"{source} has another time step than the run: {time_step} was trained on, but {dates[-1]} follows "
            f"{dates[-2]} ({reason}): give rows of the same step"
        )
    found = gaps(dates, time_step)
    if not found:
        return []
    first = f"{found[0][0]} .. {found[0][1]}"
    return [f"{len(found)} gap(s) in the dates of the look-back, the first {first}: read as if there were none"]
