"""Repair a table: sort its rows, and remove repeated dates, gaps and missing cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from data_provider.tables.calendars import infer_time_step, irregularity
from data_provider.tables.formats import PARQUET_SUFFIXES
from data_provider.tables.long_format import to_wide
from data_provider.tables.table import Table
from utils.files import replacing
from utils.time_steps import gaps, missing_dates

Method = Literal["interpolate", "ffill", "drop"]
METHODS: tuple[str, ...] = get_args(Method)
MAX_SHARE = 0.1


@dataclass
class Changes:
    """What a repair changes: a sentence for each kind, and the largest share of rows or cells that one kind touches."""

    lines: list[str] = field(default_factory=list)
    share: float = 0.0

    def add(self, line: str, count: int = 0, of: int = 1) -> None:
        """Note a change of `count` rows or cells `of` all."""
        self.lines.append(line)
        self.share = max(self.share, count / of)


def check_share(changes: Changes, *, path: Path, force: bool) -> None:
    """Check that a repair leaves most of the table as it is. Raises ValueError."""
    if changes.share > MAX_SHARE and not force:
        raise ValueError(
            f"{path}: --fix would change {100 * changes.share:.0f} % of the rows or cells, more than "
            f"{100 * MAX_SHARE:.0f} %, and nothing is written: correct the file, choose --columns, or give --force"
        )


def repair(table: Table, method: Method) -> tuple[Table, Changes]:
    """The repaired table, and its changes.

    `interpolate` and `ffill` insert missing dates and fill missing cells, linearly in time or with the previous value;
    at both ends of a column the nearest value is used. `drop` removes rows with a missing cell and leaves gaps as they
    are. Of rows with the same date the first is kept. A series in long format is repaired by itself, within its own
    first and last date. Raises ValueError for cells that hold something other than a
    number, which are never filled, and for dates without a regular step.
    """
    _check_cells(table)
    if table.long is not None:
        return _repair_each(table, method)
    frame = pd.DataFrame(np.where(np.isfinite(table.values), table.values, np.nan), table.dates, table.columns)
    changes = Changes([*table.notes, *table.complaints])
    frame = _with_sorted_dates(frame, changes)
    empty = [str(name) for name in frame.columns[frame.isna().all()]]
    if empty:
        frame = frame.drop(columns=empty)
        changes.add(f"left out the columns without any number: {', '.join(empty)}")
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
        unread=np.zeros(frame.shape, bool),
    )
    return repaired, changes


def write_table(table: Table, path: Path) -> None:
    """Write the table as CSV or Parquet, by the suffix of `path`; an interrupted write leaves no partial file there."""
    frame = pd.DataFrame(table.values, columns=table.columns)
    dates = table.dates if table.zone is None else table.zone.restored(table.dates)
    if table.long is None:
        frame.insert(0, "date" if table.date_column.startswith("Unnamed: ") else table.date_column, dates)
    else:
        frame.insert(0, "date", dates)
        frame = table.long.melted(frame, table.columns, bounds=False)
        rows = ~table.absent.T.ravel() if table.is_panel else slice(None)
        frame = frame[rows]
    with replacing(path) as file:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            frame.to_parquet(file, index=False)
        else:
            frame.to_csv(file, mode="wb", index=False, lineterminator="\n")


def _repair_each(table: Table, method: Method) -> tuple[Table, Changes]:
    """The series of a long table, each repaired by itself."""
    changes = Changes([*table.notes, *table.complaints])
    ids: list[str] = []
    dates, values = [], []
    for channel, name in enumerate(table.columns):
        rows = ~table.absent[:, channel] if table.is_panel else np.ones(len(table.dates), bool)
        alone = replace(
            table, columns=[name], dates=table.dates[rows], values=table.values[rows][:, [channel]], long=None,
            unread=np.zeros((0, 0), bool), absent=np.zeros((0, 0), bool), notes=[], complaints=[],
        )  # fmt: skip
        repaired, found = repair(alone, method)
        for line in found.lines:
            changes.add(f"series {name}: {line}")
        changes.share = max(changes.share, found.share)
        ids += [name] * len(repaired.dates)
        dates.append(repaired.dates)
        values.append(repaired.values[:, 0])
    flat = np.concatenate(values)
    columns, all_dates, wide, unread, absent = to_wide(
        ids, dates[0].append(dates[1:]), flat, np.zeros(len(flat), bool), wanted=None, source=str(table.path)
    )
    repaired = replace(
        table, columns=columns, dates=all_dates, values=wide, unread=unread, notes=[], complaints=[],
        absent=absent if absent.any() else np.zeros((0, 0), bool),
    )  # fmt: skip
    return repaired, changes


def _check_cells(table: Table) -> None:
    if not table.unread.any():
        return
    channels = np.flatnonzero(table.unread.any(axis=0))
    what = table.complaints[-1] if table.complaints else f"column {table.columns[int(channels[0])]} holds text"
    raise ValueError(
        f"{table.path}: {int(table.unread.sum())} cells in {len(channels)} column(s) hold something that is no number, "
        f"and what a cell holds is never replaced: {what}; correct it, name what means missing by --missing_code, or "
        "choose --columns"
    )


def _with_sorted_dates(frame: pd.DataFrame, changes: Changes) -> pd.DataFrame:
    num_rows, undated = len(frame), frame.index.isna()
    if undated.any():
        frame = frame.loc[~undated]
        count = int(undated.sum())
        changes.add(f"rows removed because their date is not readable: {count}", count, num_rows)
    if not frame.index.is_monotonic_increasing:
        frame = frame.sort_index(kind="stable")
        changes.add("sorted the rows by date")
    repeated = frame.index.duplicated(keep="first")
    if repeated.any():
        frame = frame.loc[~repeated]
        count = int(repeated.sum())
        changes.add(f"rows removed because their date was there already (the first is kept): {count}", count, num_rows)
    return frame


def _with_missing_dates(frame: pd.DataFrame, table: Table, changes: Changes) -> pd.DataFrame:
    time_step = infer_time_step(pd.DatetimeIndex(frame.index))
    reason = irregularity(pd.DatetimeIndex(frame.index), time_step)
    if reason is not None:
        raise ValueError(
            f"{table.path}: the dates have no regular step: {reason}: bring the table to one step first, for example "
            "by pandas.DataFrame.resample"
        )
    missing: list[pd.DatetimeIndex] = []
    room = 2 * len(frame)
    for before, after in gaps(pd.DatetimeIndex(frame.index), time_step):
        dates = missing_dates(before, after, time_step, limit=room)
        if dates is None:
            raise ValueError(
                f"{table.path}: the gap {before} .. {after} holds more steps of {time_step} than the file has rows: "
                "correct the date, or repair with --fix drop"
            )
        room -= len(dates)
        missing.append(dates)
    added = pd.DatetimeIndex(np.concatenate([dates.to_numpy() for dates in missing])) if missing else []
    if len(added) == 0:
        return frame
    changes.add(
        f"missing dates inserted: {len(added)} in {len(missing)} gap(s), step {time_step}", len(added), len(frame)
    )
    return frame.reindex(frame.index.append(pd.DatetimeIndex(added)).sort_values())


def _without_missing_cells(frame: pd.DataFrame, method: Method, changes: Changes) -> pd.DataFrame:
    num_missing = int(frame.isna().to_numpy().sum())
    if num_missing == 0:
        return frame
    if method == "drop":
        kept = frame.dropna()
        count = len(frame) - len(kept)
        changes.add(f"rows removed because a cell is missing (gaps now): {count}", count, len(frame))
        return kept
    filled = frame.interpolate(method="time") if method == "interpolate" else frame.ffill()
    how = "linearly in time" if method == "interpolate" else "with the value before"
    changes.add(
        f"missing cells filled {how} (at the edges with the nearest value): {num_missing}", num_missing, frame.size
    )
    return filled.ffill().bfill()
