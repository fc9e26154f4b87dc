"""Dates: from the text of a column to time stamps without zone, and the step and season that they imply."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_DAY_OR_MONTH_FIRST = re.compile(r"^\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{4}")
_OFFSET = re.compile(r"(?:[+-]\d{2}:?\d{2}|Z)$")
# Steps per cycle by step: the strongest natural cycle that the step can show.
_CALENDAR_SEASONS = {"B": 5, "D": 7, "W": 52, "M": 12, "Q": 4}


def parse_dates(column: pd.Series, *, name: str) -> tuple[pd.DatetimeIndex, str | None]:
    """Time stamps without zone (converted to UTC where they had one), and a note on what was done to them.

    Raises ValueError with the first cell that is not a date, for dates that can be read day-first as well as
    month-first, and for dates with different UTC offsets.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column.dt.tz_convert("UTC").dt.tz_localize(None)), _utc_note(str(column.dtype.tz))
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return pd.DatetimeIndex(column), None
    text = column.astype("string")
    if text.isna().any():
        raise ValueError(f"the date column {name} has an empty cell in data row {int(text.isna().argmax()) + 1}")
    offsets = _offsets(text)
    if len(offsets) > 1:
        raise ValueError(
            f"the date column {name} mixes UTC offsets ({', '.join(sorted(offsets))}): "
            "`python -m data_provider.check FILE --fix interpolate` writes a copy in UTC"
        )
    parsed = _parse_text(text, name=name, utc=offsets != {"none"})
    if offsets == {"none"}:
        return parsed, None
    return parsed.tz_convert("UTC").tz_localize(None), _utc_note(offsets.pop())


def _utc_note(zone: str) -> str:
    return f"dates carry the zone {zone} and are converted to UTC (calendar features then count UTC hours)"


def _offsets(text: pd.Series) -> set[str]:
    """The different endings of the dates: `none`, `Z`, `+01:00`; a date alone never has one."""
    if not (_OFFSET.search(str(text.iloc[0])) and ":" in str(text.iloc[0])) and ":" not in str(text.iloc[-1]):
        return {"none"}
    endings = text.str.extract(r"\d{2}:\d{2}\S*?([+-]\d{2}:?\d{2}|Z)$", expand=False).fillna("none")
    return {str(ending) for ending in endings.unique()}


def _parse_text(text: pd.Series, *, name: str, utc: bool) -> pd.DatetimeIndex:
    if _DAY_OR_MONTH_FIRST.match(str(text.iloc[0])):
        return _parse_day_or_month_first(text, name=name, utc=utc)
    try:
        return pd.DatetimeIndex(pd.to_datetime(text, utc=utc))
    except (ValueError, pd.errors.OutOfBoundsDatetime):
        pass  # Mixed formats such as `2020-01-01` beside `2020-01-01 00:10:00` are still dates.
    parsed = pd.to_datetime(text, utc=utc, errors="coerce", format="mixed")
    bad = parsed.isna()
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise ValueError(f"the date column {name} holds {text.iloc[row]!r} in data row {row + 1}, which is not a date")
    return pd.DatetimeIndex(parsed)


def _parse_day_or_month_first(text: pd.Series, *, name: str, utc: bool) -> pd.DatetimeIndex:
    """`03/04/2020` is only accepted where one of its two readings is the only possible or the only regular one."""
    readings = []
    for dayfirst in (False, True):
        parsed = pd.to_datetime(text, utc=utc, errors="coerce", format="mixed", dayfirst=dayfirst)
        # A reading that silently swaps single cells (13/04 read month-first) is no reading of the column.
        first, second = (text.str.extract(r"^\s*(\d{1,2})[/.-](\d{1,2})")[part].astype("Int64") for part in (0, 1))
        month = second if dayfirst else first
        if not parsed.isna().any() and bool((month <= 12).all()):
            readings.append(pd.DatetimeIndex(parsed))
    if not readings:
        raise ValueError(f"the date column {name} cannot be read (first cell {text.iloc[0]!r}): write YYYY-MM-DD HH:MM")
    regular = [reading for reading in readings if len(np.unique(np.diff(reading.asi8))) == 1]
    if len(readings) == 2 and len(regular) != 1 and not readings[0].equals(readings[1]):
        raise ValueError(
            f"the date column {name} can be read day-first or month-first (first cell {text.iloc[0]!r}): "
            "write YYYY-MM-DD HH:MM"
        )
    return regular[0] if len(readings) == 2 and regular else readings[0]


def infer_time_step(dates: pd.DatetimeIndex) -> str:
    """The pandas offset string of the step between rows: the regular one, or the most frequent one where gaps are."""
    if len(dates) < 3:
        raise ValueError(f"the time step cannot be told from {len(dates)} rows: at least 3 are needed")
    differences = np.diff(dates.as_unit("ns").asi8)
    steps, counts = np.unique(differences[differences > 0], return_counts=True)
    if len(steps) == 0:
        raise ValueError("the time step cannot be told: all dates are the same")
    step = pd.Timedelta(int(steps[counts.argmax()]), unit="ns")
    if step >= pd.Timedelta(days=1) and len(steps) > 1 and dates.is_monotonic_increasing and dates.is_unique:
        calendar = pd.infer_freq(dates)
        if calendar is not None:
            return calendar
    return step_name(step)


def step_name(step: pd.Timedelta) -> str:
    """`15min`, `h`, `D`, `7D`: the shortest offset string of a fixed step."""
    return pd.tseries.frequencies.to_offset(step).freqstr


def season_of_step(time_step: str) -> int:
    """Time steps of the strongest natural cycle: a day for steps below it, then week, year; 1 where there is none."""
    offset = pd.tseries.frequencies.to_offset(time_step)
    fixed = fixed_step(time_step)
    if fixed is None:
        prefix = offset.rule_code.split("-")[0].removesuffix("E").removesuffix("S")
        return max(1, _CALENDAR_SEASONS.get(prefix, 1) // offset.n)
    day = pd.Timedelta(days=1)
    if fixed < day:
        return max(1, round(day / fixed))
    if fixed == day:
        return 7
    return 52 if fixed == 7 * day else 1


def fixed_step(time_step: str) -> pd.Timedelta | None:
    """The step as a length of time, or None for calendar steps such as months."""
    offset = pd.tseries.frequencies.to_offset(time_step)
    try:
        return pd.Timedelta(offset)
    except ValueError:
        if offset.rule_code.startswith("W"):
            return pd.Timedelta(days=7 * offset.n)
        return None


def gaps(dates: pd.DatetimeIndex, time_step: str) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """The pairs of neighbouring dates that lie further apart than one step (dates must be sorted)."""
    step = fixed_step(time_step)
    if step is None:
        following = dates[:-1] + pd.tseries.frequencies.to_offset(time_step)
        where = np.flatnonzero(dates[1:] > following)
    else:
        where = np.flatnonzero(np.diff(dates.as_unit("ns").asi8) > step.value)
    return [(dates[index], dates[index + 1]) for index in where]


def continue_dates(last: pd.Timestamp, time_step: str, num_steps: int) -> pd.DatetimeIndex:
    """The `num_steps` dates that follow `last`."""
    return pd.date_range(last, periods=num_steps + 1, freq=time_step)[1:]
