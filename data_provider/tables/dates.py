"""Parse a date column, and infer its time step, season and gaps."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

_DAY_OR_MONTH_FIRST = re.compile(r"^\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{4}")
_NUMBER = re.compile(r"^\s*[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?\s*$")
_YEAR_OR_DAY = re.compile(r"^\s*(?:1[89]|2[01])\d{2}(?:\d{4})?\s*$")
# `-0500` is a zone only after minutes or seconds: `15-03-2020` looks the same at its end.
_ZONE = re.compile(r"(?:\+\d{2}(?::?\d{2})?|-\d{2}:\d{2}|(?<=:\d{2})-\d{4}|Z|UTC|GMT)$")
_DAY = timedelta(days=1)
_UNITS = {
    "D": _DAY,
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
# Calendar step -> steps per week (B, D) or year.
_CALENDAR_SEASONS = {"B": 5, "D": 7, "W": 52, "M": 12, "Q": 4}


def parse_dates(column: pd.Series, *, name: str, lenient: bool = False) -> tuple[pd.DatetimeIndex, str | None]:
    """Parse dates to timestamps without time zone (dates with a zone become UTC), and a note if they were converted.

    Raises ValueError naming the first cell that is not a date, for dates that can be read day-first as well as
    month-first, and for mixed UTC offsets. `lenient` turns invalid cells into NaT and converts mixed offsets to UTC,
    but still refuses a mix of dates with and without zone.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column.dt.tz_convert("UTC").dt.tz_localize(None)), _utc_note(str(column.dtype.tz))
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return pd.DatetimeIndex(column), None
    text = column.astype("string").str.strip()
    if text.isna().any() and not lenient:
        raise ValueError(f"the date column {name} has an empty cell in data row {int(text.isna().argmax()) + 1}")
    offsets = _offsets(text)
    if len(offsets) > 1 and (not lenient or "none" in offsets):
        way_out = "write one zone everywhere, or none"
        if "none" not in offsets:
            way_out = "`python -m data_provider.check FILE --fix interpolate` writes a copy in UTC"
        raise ValueError(f"the date column {name} mixes UTC offsets ({', '.join(sorted(offsets))}): {way_out}")
    parsed = _parse_text(text, name=name, utc=offsets != {"none"})
    bad = parsed.isna()
    if bad.any() and not lenient:
        row = int(bad.argmax())
        raise ValueError(f"the date column {name} holds {text.iloc[row]!r} in data row {row + 1}, which is not a date")
    if offsets == {"none"}:
        return parsed, None
    return parsed.tz_convert("UTC").tz_localize(None), _utc_note(", ".join(sorted(offsets)))


def _utc_note(zone: str) -> str:
    return f"dates carry the zone {zone} and are converted to UTC (calendar features then count UTC hours)"


def _offsets(text: pd.Series) -> set[str]:
    """The UTC offsets in the column, `none` for dates without one."""
    found = (_ZONE.search(str(ending)) for ending in text.dropna().str.slice(-9).unique())
    return {match.group() if match else "none" for match in found}


def _parse_text(text: pd.Series, *, name: str, utc: bool) -> pd.DatetimeIndex:
    """Timestamps; NaT where a cell is not a date."""
    first = str(text.dropna().iloc[0]) if text.notna().any() else ""
    if _YEAR_OR_DAY.match(first):
        layout = "%Y" if len(first) == 4 else "%Y%m%d"
        return pd.DatetimeIndex(pd.to_datetime(text, format=layout, errors="coerce"))
    if _NUMBER.match(first):
        raise ValueError(f"the date column {name} holds numbers ({first}): write dates as YYYY-MM-DD HH:MM")
    if _DAY_OR_MONTH_FIRST.match(first):
        return _parse_day_or_month_first(text, name=name, utc=utc)
    # `mixed` also reads `2020-01-01` next to `2020-01-01 00:10:00`; ISO dates are parsed as fast as with a format.
    return pd.DatetimeIndex(pd.to_datetime(text, utc=utc, errors="coerce", format="mixed"))


def _parse_day_or_month_first(text: pd.Series, *, name: str, utc: bool) -> pd.DatetimeIndex:
    """Parse dates like `03/04/2020`, if only one reading (day-first or month-first) is valid or evenly spaced."""
    parts = text.str.extract(r"^(\d{1,2})[/.-](\d{1,2})[/.-]")
    readings = []
    for dayfirst in (False, True):
        month = parts[1 if dayfirst else 0].astype("Int64")
        # pandas would swap day and month in single cells (13/04 read month-first): rule such a reading out.
        if bool((month.dropna() <= 12).all()):
            parsed = pd.to_datetime(text, utc=utc, errors="coerce", format="mixed", dayfirst=dayfirst)
            readings.append(pd.DatetimeIndex(parsed))
    if len(readings) == 2 and not readings[0].equals(readings[1]):
        readings = [reading for reading in readings if len(np.unique(np.diff(reading.asi8))) == 1]
    if len(readings) == 2 and readings[0].equals(readings[1]):
        readings = readings[:1]
    if len(readings) != 1:
        raise ValueError(
            f"the date column {name} does not say which of day and month comes first (first cell {text.iloc[0]!r}): "
            "write YYYY-MM-DD HH:MM"
        )
    return readings[0]


def infer_time_step(dates: pd.DatetimeIndex) -> str:
    """The time step as a pandas offset string; with gaps in the dates, the most frequent step."""
    if len(dates) < 3:
        raise ValueError(f"the time step cannot be told from {len(dates)} rows: at least 3 are needed")
    differences = np.diff(dates.as_unit("us").asi8)
    steps, counts = np.unique(differences[differences > 0], return_counts=True)
    if len(steps) == 0:
        raise ValueError("the time step cannot be told: all dates are the same")
    step = timedelta(microseconds=int(steps[counts.argmax()]))
    calendar = _calendar_step(dates) if step >= _DAY and len(steps) > 1 else None
    return calendar or _name_of(step)


def _name_of(step: timedelta) -> str:
    """A fixed step as an offset string: `D`, `7D`, `h`, `15min` (pandas itself would say 24h for a day)."""
    unit, length = next((unit, length) for unit, length in _UNITS.items() if step % length == timedelta(0))
    count = step // length
    return unit if count == 1 else f"{count}{unit}"


def _calendar_step(dates: pd.DatetimeIndex) -> str | None:
    """The calendar step (`MS`, `3MS`, `ME`, `B`) of dates that are regular in months or working days, else None."""
    num_months = np.unique(np.diff(np.asarray(dates.year * 12 + dates.month)))
    if len(num_months) == 1 and num_months[0] > 0:
        count = "" if num_months[0] == 1 else str(num_months[0])
        if dates.is_month_start.all():
            return f"{count}MS"
        if dates.is_month_end.all():
            return f"{count}ME"
    num_days = np.diff(dates.as_unit("us").asi8) / (_DAY / timedelta(microseconds=1))
    before_weekend = np.asarray(dates.day_of_week[:-1]) == 4
    return "B" if (num_days == np.where(before_weekend, 3, 1)).all() else None


def season_of_step(time_step: str) -> int:
    """Season length in time steps: a day for steps below a day, a week for days, a year for longer steps; 1 if none."""
    step = fixed_step(time_step)
    if step is None:
        offset = to_offset(time_step)
        prefix = offset.rule_code.split("-")[0].removesuffix("E").removesuffix("S")
        return max(1, _CALENDAR_SEASONS.get(prefix, 1) // offset.n)
    if step < _DAY:
        return max(1, round(_DAY / step))
    if step == _DAY:
        return 7
    return 52 if step == 7 * _DAY else 1


def fixed_step(time_step: str) -> timedelta | None:
    """The time step as a timedelta; None for calendar steps such as months."""
    offset = to_offset(time_step)
    if offset.rule_code.startswith("W"):
        return 7 * offset.n * _DAY
    return offset.n * _UNITS[offset.rule_code] if offset.rule_code in _UNITS else None


def gaps(dates: pd.DatetimeIndex, time_step: str) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Neighbouring dates that are more than one time step apart; `dates` must be sorted."""
    step = fixed_step(time_step)
    if step is None:
        following = dates[:-1] + to_offset(time_step)
        where = np.flatnonzero(dates[1:] > following)
    else:
        where = np.flatnonzero(np.diff(dates.as_unit("us").asi8) > step / timedelta(microseconds=1))
    return list(zip(dates[where], dates[where + 1], strict=True))


def continue_dates(last: pd.Timestamp, time_step: str, num_steps: int) -> pd.DatetimeIndex:
    """The `num_steps` dates that follow `last`."""
    return pd.date_range(last, periods=num_steps + 1, freq=time_step)[1:]
