"""Input table of a forecast: read from a file or data frame, and validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from pandas.tseries.frequencies import to_offset

from data_provider.tables.dates import fixed_step, gaps, parse_dates
from data_provider.tables.table import read_table

DATE_NAMES = ("date", "datetime", "timestamp", "time", "ts", "ds", "date_time")


@dataclass(frozen=True, eq=False)
class InputTable:
    """Dates without time zone, and values in original units: columns in the order of training, NaN for empty cells.

    `source` names the table in messages, `notes` are remarks for the log.
    """

    source: str
    dates: pd.DatetimeIndex
    values: Float[ndarray, "time channel"]
    notes: list[str]


def input_table_of_file(path: Path, columns: Sequence[str], *, date_column: str | None) -> InputTable:
    """Read the columns, by name, of a CSV or Parquet file. Raises ValueError or FileNotFoundError."""
    table = read_table(path, date_column=date_column, columns=list(columns))
    return InputTable(str(path), table.dates, table.values, table.notes)


def input_table_of_frame(frame: pd.DataFrame, columns: Sequence[str], *, date_column: str | None) -> InputTable:
    """Take the columns, by name, of a data frame whose dates are a column or the index. Raises ValueError."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        known = ", ".join(str(name) for name in frame.columns)
        raise ValueError(f"the data frame has no column {', '.join(missing)}: its columns are {known}")
    if len(frame) == 0:
        raise ValueError("the data frame has no rows")
    known = [date_column] if date_column else [name for name in frame.columns if str(name).lower() in DATE_NAMES]
    name = next((name for name in known if name in frame.columns and name not in columns), None)
    if name is None and not isinstance(frame.index, pd.DatetimeIndex):
        raise ValueError("the data frame has neither a column called date nor dates as its index: name --date_column")
    column = pd.Series(frame.index if name is None else frame[name]).reset_index(drop=True)
    dates, note = parse_dates(column, name=str(name or "index"))
    try:
        values = frame[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the data frame holds a cell that is not a number: {error}") from error
    return InputTable("the data frame", dates, values, [note] if note else [])


def last_rows(table: InputTable, num_rows: int) -> InputTable:
    """The last `num_rows` rows. Raises ValueError if there are fewer."""
    if len(table.dates) < num_rows:
        raise ValueError(
            f"{table.source} has {len(table.dates)} rows, but a forecast of this run reads the last --seq_len "
            f"{num_rows}: give at least {num_rows} rows"
        )
    return InputTable(table.source, table.dates[-num_rows:], table.values[-num_rows:], table.notes)


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
            f"{source}: dates must rise from row to row, but {dates[row + 1]} follows {dates[row]}: `python -m "
            "data_provider.check FILE --fix interpolate` writes a repaired copy"
        )
    if not follows_step(dates, time_step):
        raise ValueError(
            f"{source} has another time step than the run: {time_step} was trained on, but {dates[-1]} follows "
            f"{dates[-2]}: give rows of the same step"
        )
    found = gaps(dates, time_step)
    if not found:
        return []
    first = f"{found[0][0]} .. {found[0][1]}"
    return [f"{len(found)} gap(s) in the dates of the look-back, the first {first}: read as if there were none"]


def follows_step(dates: pd.DatetimeIndex, time_step: str) -> bool:
    """Whether most rows are one `time_step` after the row before."""
    if len(dates) < 2:
        return True
    step = fixed_step(time_step)
    if step is not None:
        regular = np.diff(dates.as_unit("us").asi8) == pd.Timedelta(step).value // 1000
    else:
        offset = to_offset(time_step)
        last: Any = dates[-1]
        if not offset.is_on_offset(last):
            return False
        regular = dates[:-1] + offset == dates[1:]
    return 2 * int(np.sum(regular)) >= len(regular)
