"""Repair a table: sort its rows, and remove repeated dates, gaps and missing cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from data_provider.tables.dates import gaps, infer_time_step
from data_provider.tables.table import PARQUET_SUFFIXES, Table

Method = Literal["interpolate", "ffill", "drop"]
METHODS: tuple[str, ...] = get_args(Method)


def repair(table: Table, method: Method) -> tuple[Table, list[str]]:
    """The repaired table, and a sentence for each kind of change.

    `interpolate` and `ffill` insert missing dates and fill missing cells, linearly in time or with the previous value;
    at both ends of a column the nearest value is used. `drop` removes rows with a missing cell and leaves gaps as they
    are. Of rows with the same date the first is kept.
    """
    frame = pd.DataFrame(np.where(np.isfinite(table.values), table.values, np.nan), table.dates, table.columns)
    changes = [*table.notes, *table.complaints]
    frame = _with_sorted_dates(frame, changes)
    empty = [str(name) for name in frame.columns[frame.isna().all()]]
    if empty:
        frame = frame.drop(columns=empty)
        changes.append(f"left out the columns without any number: {', '.join(empty)}")
    if method != "drop":
        frame = _with_missing_dates(frame, table, changes)
    frame = _without_missing_cells(frame, method, changes)
    if frame.empty:
        raise ValueError(f"{table.path}: nothing is left after --fix {method}: every row or column has missing cells")
    repaired = replace(
        table,
        columns=[str(name) for name in frame.columns],
        dates=pd.DatetimeIndex(frame.index),
        values=frame.to_numpy(),
        notes=[],
        complaints=[],
    )
    return repaired, changes


def write_table(table: Table, path: Path) -> None:
    """Write the table as CSV or Parquet, by the suffix of `path`; an interrupted write leaves no partial file there."""
    frame = pd.DataFrame(table.values, columns=table.columns)
    frame.insert(0, table.date_column, table.dates)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False, lineterminator="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _with_sorted_dates(frame: pd.DataFrame, changes: list[str]) -> pd.DataFrame:
    undated = frame.index.isna()
    if undated.any():
        frame = frame.loc[~undated]
        changes.append(f"rows removed because their date is not readable: {int(undated.sum())}")
    if not frame.index.is_monotonic_increasing:
        frame = frame.sort_index(kind="stable")
        changes.append("sorted the rows by date")
    repeated = frame.index.duplicated(keep="first")
    if repeated.any():
        frame = frame.loc[~repeated]
        changes.append(f"rows removed because their date was there already (the first is kept): {int(repeated.sum())}")
    return frame


def _with_missing_dates(frame: pd.DataFrame, table: Table, changes: list[str]) -> pd.DataFrame:
    time_step = infer_time_step(pd.DatetimeIndex(frame.index))
    step = to_offset(time_step)
    missing: list[pd.DatetimeIndex] = []
    room = 2 * len(frame)
    for before, after in gaps(pd.DatetimeIndex(frame.index), time_step):
        room -= round((after - before) / ((before + step) - before))
        if room < 0:
            raise ValueError(
                f"{table.path}: the gap {before} .. {after} holds more steps of {time_step} than the file has rows: "
                "correct the date, or repair with --fix drop"
            )
        dates = pd.date_range(before, after, freq=step)
        missing.append(dates[(dates > before) & (dates < after)])
    added = pd.DatetimeIndex(np.concatenate([dates.to_numpy() for dates in missing])) if missing else []
    if len(added) == 0:
        return frame
    changes.append(f"missing dates inserted: {len(added)} in {len(missing)} gap(s), step {time_step}")
    return frame.reindex(frame.index.append(pd.DatetimeIndex(added)).sort_values())


def _without_missing_cells(frame: pd.DataFrame, method: Method, changes: list[str]) -> pd.DataFrame:
    num_missing = int(frame.isna().to_numpy().sum())
    if num_missing == 0:
        return frame
    if method == "drop":
        kept = frame.dropna()
        changes.append(f"rows removed because a cell is missing (gaps now): {len(frame) - len(kept)}")
        return kept
    filled = frame.interpolate(method="time") if method == "interpolate" else frame.ffill()
    how = "linearly in time" if method == "interpolate" else "with the value before"
    changes.append(f"missing cells filled {how} (at the edges with the nearest value): {num_missing}")
    return filled.ffill().bfill()
