"""Infer the time step of dates with gaps: fixed lengths, weekdays, opening hours, starts, ends and days of months."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from utils.time_steps import DAY, name_of_length, name_of_weekdays, next_dates

_DAY_NS = DAY.value
# A weekday or time of day that holds less than this share of what the fullest holds is an exception to the calendar.
_RARE = 0.2
_MIN_WEEKS, _MIN_DAYS, _MAX_SESSIONS, _MIN_FILLED = 2, 5, 4, 0.8


def infer_time_step(dates: pd.DatetimeIndex) -> str:
    """The time step as text (see `utils.time_steps`) of sorted dates; with gaps, the one that most rows follow."""
    if len(dates) < 3:
        raise ValueError(f"the time step cannot be told from {len(dates)} rows: at least 3 are needed")
    # With a frequency attached, pandas means business months by `is_month_end`.
    dates = pd.DatetimeIndex(dates.to_numpy())
    moments = _nanoseconds(dates)
    differences = np.diff(moments)
    steps, counts = np.unique(differences[differences > 0], return_counts=True)
    if len(steps) == 0:
        raise ValueError("the time step cannot be told: all dates are the same")
    step = int(steps[counts.argmax()])
    calendar = None
    if len(steps) > 1:
        calendar = _months(dates) if step >= 28 * _DAY_NS else None
        calendar = calendar or _weekdays_only(dates, step) or _opening_hours(moments, step)
    return calendar or name_of_length(_span(step))


def irregularity(dates: pd.DatetimeIndex, time_step: str) -> str | None:
    """Why dates have no regular step: less than half of the rows follow the row before them by `time_step`."""
    if len(dates) < 2:
        return None
    follows = dates[1:] == next_dates(dates[:-1], time_step)
    if 2 * int(np.sum(follows)) >= len(follows):
        return None
    lengths = np.diff(_nanoseconds(dates))
    shortest, longest = (_span(int(length)) for length in (lengths.min(), lengths.max()))
    return (
        f"only {100 * np.mean(follows):.0f} % of its rows are one step ({time_step}) after the row before, the others "
        f"{_length(shortest)} to {_length(longest)}"
    )


def _span(nanoseconds: int) -> Any:
    return pd.Timedelta(nanoseconds, unit="ns")


def _length(length: Any) -> str:
    if length < pd.Timedelta(minutes=10):
        return f"{length.total_seconds():g} s"
    return f"{length / DAY:g} days" if length >= 3 * DAY else str(length.round("s")).removeprefix("0 days ")


def _nanoseconds(dates: pd.DatetimeIndex) -> np.ndarray:
    try:
        return dates.as_unit("ns").asi8
    except pd.errors.OutOfBoundsDatetime:
        return _since_first_week(dates)


def _since_first_week(dates: pd.DatetimeIndex) -> np.ndarray:
    """Nanoseconds since a Thursday before the first date, for dates beyond the years 1677 to 2262."""
    micro = dates.as_unit("us").asi8
    return (micro - micro.min() // (7 * 86_400_000_000) * (7 * 86_400_000_000)) * 1000


def _months(dates: pd.DatetimeIndex) -> str | None:
    if len((dates - dates.normalize()).unique()) > 1:
        return None
    steps, counts = np.unique(np.diff(np.asarray(dates.year * 12 + dates.month)), return_counts=True)
    count = int(steps[counts.argmax()])
    if count < 1 or (steps < 1).any() or (steps % count).any():
        return None
    number, days = ("" if count == 1 else str(count)), dates.normalize()
    if days.is_month_start.all():
        return f"{number}MS"
    if days.is_month_end.all():
        return f"{number}ME"
    for name, offset in (("BMS", pd.offsets.BMonthBegin()), ("BME", pd.offsets.BMonthEnd())):
        if all(offset.is_on_offset(day) for day in days):
            return f"{number}{name}"
    day = int(np.asarray(days.day).max())
    return f"{number}MS+{day - 1}D" if (days.day == np.minimum(day, days.days_in_month)).all() else None


def _used(counts: np.ndarray) -> list[int]:
    return np.flatnonzero(counts > _RARE * counts.max()).tolist()


def _weekdays_only(dates: pd.DatetimeIndex, step: int) -> str | None:
    """`B`, or `D@...` for days of which some weekdays are never there."""
    if step != _DAY_NS or len((dates - dates.normalize()).unique()) > 1:
        return None
    used = _used(np.bincount(dates.day_of_week, minlength=7))
    if len(used) == 7 or len(used) < 2:
        return None
    moments = _nanoseconds(dates)
    span = (moments[-1] - moments[0]) // _DAY_NS
    has_full_weekend = used == [0, 1, 2, 3, 4] and set(np.diff(moments) // _DAY_NS) == {1, 3}
    if (span < 7 * _MIN_WEEKS or len(dates) < _MIN_WEEKS * len(used)) and not has_full_weekend:
        # A few days without a weekday can be days with a gap.
        return None
    return "B" if used == [0, 1, 2, 3, 4] else f"D@{name_of_weekdays(used)}"


def _opening_hours(moments: np.ndarray, step: int) -> str | None:
    """`30min@Mon-Fri 09:30-16:00` for steps below a day of which some times or weekdays are never there."""
    if step >= _DAY_NS or _DAY_NS % step:
        return None
    phases, counts = np.unique(moments % step, return_counts=True)
    phase = int(phases[counts.argmax()])
    grid = moments[moments % step == phase]
    days = np.unique(grid // _DAY_NS)
    if len(days) < _MIN_DAYS or 2 * len(grid) < len(moments):
        return None
    slots = _used(np.bincount((grid % _DAY_NS) // step, minlength=_DAY_NS // step))
    # Day 0, 1970-01-01, was a Thursday.
    weekdays = _used(np.bincount((days + 3) % 7, minlength=7))
    has_weeks = days[-1] - days[0] >= 7 * _MIN_WEEKS and len(days) >= _MIN_WEEKS * len(weekdays)
    weekdays = weekdays if has_weeks else list(range(7))
    if len(weekdays) == 7 and len(slots) == _DAY_NS // step:
        return None
    if len(grid) < _MIN_FILLED * len(days) * len(slots):
        return None
    breaks = np.flatnonzero(np.diff(slots) > 1)
    firsts = [slots[0], *(slots[place + 1] for place in breaks)]
    lasts = [*(slots[place] for place in breaks), slots[-1]]
    if len(firsts) > _MAX_SESSIONS or phase % 1_000_000_000 or step % 1_000_000_000:
        return None
    times = ",".join(
        f"{_clock(a * step + phase)}-{_clock(b * step + phase)}" for a, b in zip(firsts, lasts, strict=True)
    )
    return f"{name_of_length(_span(step))}@{name_of_weekdays(weekdays)} {times}"


def _clock(moment: int) -> str:
    seconds = moment // 1_000_000_000
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
    return text + (f":{seconds % 60:02d}" if seconds % 60 else "")
