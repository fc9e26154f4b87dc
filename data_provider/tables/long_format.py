"""Tables in long format: a row for each date of each series, which become the channels of a wide table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

SERIES_NAME, VALUE_NAMES = "unique_id", ("y", "value")


@dataclass(frozen=True)
class LongNames:
    """The columns of a long table: which series, when, and the value."""

    series: str
    date: str
    value: str

    def melted(self, wide: pd.DataFrame, columns: Sequence[str], *, bounds: bool) -> pd.DataFrame:
        """A wide forecast (`date`, the `columns`, and with `bounds` `_lower` and `_upper` of each) in long format."""
        parts = ("", "_lower", "_upper") if bounds else ("",)
        kept = {name: wide[name] for name in ("made_at", "date") if name in wide}
        tables = [
            pd.DataFrame(
                {
                    self.series: name,
                    **{self.date if key == "date" else key: values for key, values in kept.items()},
                    **{f"{self.value}{part}": wide[f"{name}{part}"] for part in parts},
                }
            )
            for name in columns
        ]
        return pd.concat(tables, ignore_index=True)


def series_column_of(names: Sequence[str], asked: str | None, *, source: str) -> str | None:
    """The column that names the series; None for a wide table. Raises ValueError."""
    if asked is not None and asked not in names:
        raise ValueError(f"--series_column {asked} is not a column of {source}, which has: {', '.join(names[:12])}")
    return asked or (SERIES_NAME if SERIES_NAME in names else None)


def value_column_of(names: Sequence[str], asked: str | None, *, source: str) -> str:
    """The column of values among `names`, which are neither dates nor series. Raises ValueError."""
    if asked is not None:
        if asked not in names:
            raise ValueError(f"--value_column {asked} is not a column of {source}, which has: {', '.join(names[:12])}")
        return asked
    known = [name for name in names if name.lower() in VALUE_NAMES] or list(names)
    if len(known) != 1:
        raise ValueError(
            f"{source} is in long format, with several columns that can be the values: name one by --value_column, of: "
            f"{', '.join(names[:12]) or 'none'}"
        )
    return known[0]


def to_wide(
    ids: Sequence[Any],
    dates: pd.DatetimeIndex,
    values: np.ndarray,
    unread: np.ndarray,
    *,
    wanted: Sequence[str] | None,
    source: str,
) -> tuple[list[str], pd.DatetimeIndex, np.ndarray, np.ndarray, np.ndarray]:
    """Names of the series in order of appearance, all dates; values, unread cells and absent rows [date, series].

    An absent row is a date that a series lacks; its value is NaN. Raises ValueError for a date that a series has twice.
    """
    names = pd.Series(ids).astype("string").fillna("").str.strip()
    if (names == "").any() or dates.isna().any():
        row = int(np.argmax((names == "").to_numpy() | np.asarray(dates.isna())))
        raise ValueError(f"{source}: data row {row + 1} names no series or no date")
    frame = pd.DataFrame({"id": names.to_numpy(str), "date": dates, "value": values, "unread": unread})
    twice = frame.duplicated(["id", "date"])
    if twice.any():
        first = frame[twice].iloc[0]
        raise ValueError(f"{source}: series {first['id']} has the date {first['date']} twice: keep one of the rows")
    chosen = list(wanted) if wanted else list(dict.fromkeys(frame["id"]))
    missing = sorted(set(chosen) - set(frame["id"]))
    if missing:
        raise ValueError(f"{source} has no series {', '.join(missing[:8])}: --columns names the series of a long table")
    wide: Any = frame[frame["id"].isin(chosen)].pivot(index="date", columns="id", values=["value", "unread"])
    found = wide["value"][chosen].to_numpy(dtype=np.float64)
    marks = wide["unread"][chosen]
    absent = marks.isna().to_numpy()
    unread_cells = (marks.to_numpy() == True).astype(bool)  # noqa: E712  (NaN where a series has no row)
    return chosen, pd.DatetimeIndex(wide.index), found, unread_cells, absent
