"""Time steps as text, and the dates that follow from them.

A time step is a pandas offset (`15min`, `D`, `B`, `MS`, `3ME`), or one of two kinds for which pandas has no text:

- `MS+14D`: the 15th of every month; where a month lacks the day, its last one (`3MS+30D`: every third month).
- `D@Mon-Sat`, `30min@Mon-Fri 09:30-16:00`: rows only on these weekdays, and at these times of day, ends included.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

# Any, because a length can be "not a time" for pandas' types, and these never are.
DAY: Any = pd.Timedelta(days=1)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
UNITS: dict[str, Any] = {
    "D": DAY,
    "h": pd.Timedelta(hours=1),
    "min": pd.Timedelta(minutes=1),
    "s": pd.Timedelta(seconds=1),
    "ms": pd.Timedelta(milliseconds=1),
    "us": pd.Timedelta(microseconds=1),
    "ns": pd.Timedelta(nanoseconds=1),
}
# Calendar step -> steps per week (B, D) or year.
_SEASONS = {"B": 5, "C": 5, "D": 7, "W": 52, "M": 12, "BM": 12, "Q": 4, "BQ": 4}
_MONTH_DAY = re.compile(r"(\d*)MS\+(\d+)D")
# More than any table has: ten thousand years, and a session whose step is a tenth of a second.
MAX_MONTHS, MAX_TIMES = 120_000, 864_000


@dataclass(frozen=True)
class MonthDay:
    """One day of every `num_months`-th month."""

    num_months: int
    day: int

    def following(self, dates: pd.DatetimeIndex, num_steps: int = 1) -> pd.DatetimeIndex:
        """The date `num_steps` after (or, if negative, before) each date, at the same time of day."""
        months = dates.tz_localize(None).to_period("M") + num_steps * self.num_months
        days = np.minimum(self.day, np.asarray(months.days_in_month)) - 1
        time_of_day = dates - dates.normalize()
        return pd.DatetimeIndex(months.to_timestamp() + pd.to_timedelta(days, unit="D") + time_of_day)


@dataclass(frozen=True)
class Sessions:
    """Times of day, as offsets from midnight, on some weekdays (0 is Monday)."""

    step: Any
    weekdays: tuple[int, ...]
    times: tuple[Any, ...]

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """All its dates from the day of `first` to the day of `last`."""
        days = pd.date_range(first.normalize(), last.normalize(), freq="D", unit="us")
        days = days[np.isin(days.day_of_week, self.weekdays)]
        times = np.array([time.to_timedelta64() for time in self.times]).astype("timedelta64[us]")
        return pd.DatetimeIndex((days.to_numpy()[:, None] + times).ravel())

    def days_for(self, num_steps: int) -> Any:
        """A span that holds at least `num_steps` dates."""
        return 7 * DAY * (num_steps // (len(self.weekdays) * len(self.times)) + 2)


def check_time_step(time_step: str) -> None:
    """Check the text of a time step that somebody else wrote. Raises ValueError."""
    try:
        special = _special(time_step)
        if isinstance(special, MonthDay):
            is_usable = 0 < special.num_months <= MAX_MONTHS and special.day <= 31
        elif isinstance(special, Sessions):
            rises = all(earlier < later for earlier, later in pairwise(special.times))
            is_usable = bool(special.times) and rises and special.times[-1] < DAY
        elif special is not None:
            is_usable = time_step.startswith("D@")
        else:
            length, offset = fixed_step(time_step), to_offset(time_step)
            is_usable = 0 < offset.n <= MAX_MONTHS if length is None else length > pd.Timedelta(0)
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{time_step[:40]!r} is no time step ({error})") from error
    if not is_usable:
        raise ValueError(f"{time_step[:40]!r} is no time step that a table can have")


def fixed_step(time_step: str) -> Any:
    """The length of a time step; None for calendar steps, such as months or opening hours."""
    if _special(time_step) is not None:
        return None
    offset: Any = to_offset(time_step)
    if offset.rule_code.startswith("W"):
        return 7 * offset.n * DAY
    return offset.n * UNITS[offset.rule_code] if offset.rule_code in UNITS else None


def pandas_step(time_step: str) -> str:
    """The nearest step for which pandas has a text: months for the 15th of each month, 30min for opening hours."""
    if "@" in time_step:
        return time_step.split("@")[0]
    return time_step.split("+")[0] if _MONTH_DAY.fullmatch(time_step) else time_step


def next_dates(dates: pd.DatetimeIndex, time_step: str) -> pd.DatetimeIndex:
    """The date one time step after each of `dates`."""
    if len(dates) == 0:
        return dates
    special = _special(time_step)
    if isinstance(special, Sessions):
        first: Any = dates.min()
        last: Any = dates.max()
        calendar = special.between(first, last + special.days_for(1))
        return calendar[np.searchsorted(calendar.to_numpy(), dates.to_numpy(), side="right")]
    if isinstance(special, MonthDay):
        return special.following(dates)
    step: Any = fixed_step(time_step)
    if step is not None:
        return pd.DatetimeIndex(dates + step)
    offset: Any = special or to_offset(time_step)
    with warnings.catch_warnings():
        # Some calendars of pandas are computed date by date, which it warns of.
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        return pd.DatetimeIndex(dates + offset)


def dates_after(last: pd.Timestamp, time_step: str, num_steps: int) -> pd.DatetimeIndex:
    """The `num_steps` dates that follow `last`."""
    return _walk(last, time_step, num_steps, forward=True)


def dates_before(first: pd.Timestamp, time_step: str, num_steps: int) -> pd.DatetimeIndex:
    """The `num_steps` dates that lead up to `first`."""
    return _walk(first, time_step, num_steps, forward=False)


def gaps(dates: pd.DatetimeIndex, time_step: str) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Neighbouring dates that are more than one time step apart; `dates` must be sorted."""
    where = np.flatnonzero(dates[1:] > next_dates(dates[:-1], time_step))
    return list(zip(dates[where], dates[where + 1], strict=True))


def missing_dates(before: pd.Timestamp, after: pd.Timestamp, time_step: str, *, limit: int) -> pd.DatetimeIndex | None:
    """The dates of a time step between two dates, both excluded; None if there are more than `limit`."""
    step = fixed_step(time_step)
    if step is not None:
        count = int((after - before) / step)
    else:
        count = min(limit + 1, int((after - before) / _shortest(time_step)) + 1)
    if step is not None and count > limit + 1:
        return None
    dates = dates_after(before, time_step, count)
    dates = dates[dates < after]
    return dates if len(dates) <= limit else None


def season_of_step(time_step: str) -> int:
    """Season length in time steps: a day for steps below a day, a week for days, a year for longer steps; 1 if none."""
    special = _special(time_step)
    if isinstance(special, Sessions):
        return len(special.times)
    if isinstance(special, MonthDay):
        return max(1, 12 // special.num_months)
    if special is not None:
        return len(_weekdays(time_step.split("@")[1]))
    step = fixed_step(time_step)
    if step is None:
        offset = to_offset(time_step)
        prefix = offset.rule_code.split("-")[0].removesuffix("E").removesuffix("S")
        return max(1, _SEASONS.get(prefix, 1) // offset.n)
    if step < DAY:
        return max(1, round(DAY / step))
    if step == DAY:
        return 7
    return 52 if step == 7 * DAY else 1


def in_words(time_step: str) -> str:
    """The step with what it means, for a calendar: `B (working days)`."""
    if "@" in time_step:
        return f"{time_step} (only these weekdays{' and times' if ' ' in time_step else ''})"
    found = _MONTH_DAY.fullmatch(time_step)
    if found:
        return f"{time_step} (day {int(found[2]) + 1} of the month)"
    names = {"B": "working days", "MS": "month starts", "ME": "month ends"}
    names |= {"3MS": "quarter starts", "3ME": "quarter ends", "12MS": "year starts", "12ME": "year ends"}
    names |= {"BMS": "first working days of the month", "BME": "last working days of the month"}
    name = names.get(time_step) or names.get(time_step.lstrip("0123456789"))
    return f"{time_step} ({name})" if name else time_step


def name_of_length(length: Any) -> str:
    """A length as an offset string: `D`, `7D`, `h`, `15min` (pandas itself would say 24h for a day)."""
    unit, size = next((unit, size) for unit, size in UNITS.items() if length % size == pd.Timedelta(0))
    count = length // size
    return unit if count == 1 else f"{count}{unit}"


def name_of_weekdays(weekdays: list[int]) -> str:
    """`Mon-Fri`, `Sun-Thu`, or a list where they do not follow each other."""
    starts = [day for day in weekdays if (day - 1) % 7 not in weekdays]
    if len(weekdays) == 7 or len(starts) != 1 or len(weekdays) < 3:
        return "Mon-Sun" if len(weekdays) == 7 else ",".join(WEEKDAYS[day] for day in weekdays)
    return f"{WEEKDAYS[starts[0]]}-{WEEKDAYS[(starts[0] + len(weekdays) - 1) % 7]}"


def _walk(start: pd.Timestamp, time_step: str, num_steps: int, *, forward: bool) -> pd.DatetimeIndex:
    special = _special(time_step)
    if isinstance(special, Sessions):
        span = special.days_for(num_steps)
        calendar = special.between(start if forward else start - span, start + span if forward else start)
        return calendar[calendar > start][:num_steps] if forward else calendar[calendar < start][-num_steps:]
    if isinstance(special, MonthDay):
        base = pd.DatetimeIndex([start])
        steps = range(1, num_steps + 1) if forward else range(-num_steps, 0)
        return pd.DatetimeIndex([special.following(base, step)[0] for step in steps])
    step: Any = special or fixed_step(time_step) or to_offset(time_step)
    # Nanoseconds reach the year 2262 only, microseconds every year.
    is_fine = start.nanosecond or getattr(step, "nanoseconds", 0)
    unit = "ns" if is_fine else "us"
    if forward:
        found = pd.date_range(start, periods=num_steps + 1, freq=step, unit=unit)
        return pd.DatetimeIndex(found[found > start][:num_steps])
    found = pd.date_range(end=start, periods=num_steps + 1, freq=step, unit=unit)
    return pd.DatetimeIndex(found[found < start][-num_steps:])


def _shortest(time_step: str) -> Any:
    """A length that no step of a calendar falls below."""
    special = _special(time_step)
    if isinstance(special, Sessions):
        return special.step
    code = to_offset(pandas_step(time_step))
    return DAY if code.rule_code[0] in "BCD" and "M" not in code.rule_code else 28 * DAY


def _special(time_step: str) -> MonthDay | Sessions | pd.offsets.CustomBusinessDay | None:
    found = _MONTH_DAY.fullmatch(time_step)
    if found:
        return MonthDay(int(found[1] or 1), int(found[2]) + 1)
    if "@" not in time_step:
        return None
    base, rule = time_step.split("@")
    days, _, times = rule.partition(" ")
    weekdays = _weekdays(days)
    if not times:
        return pd.offsets.CustomBusinessDay(weekmask=" ".join(WEEKDAYS[day] for day in weekdays))
    step = fixed_step(base)
    if step is None or step <= pd.Timedelta(0):
        raise ValueError(f"{base} has no length")
    return Sessions(step, tuple(weekdays), tuple(_times(times, step)))


def _weekdays(text: str) -> list[int]:
    text = text.split(" ")[0]
    if "-" not in text:
        days = [WEEKDAYS.index(name) for name in text.split(",")]
        if len(set(days)) < len(days):
            raise ValueError(f"{text} names a weekday twice")
        return days
    first, last = (WEEKDAYS.index(name) for name in text.split("-"))
    return sorted((first + number) % 7 for number in range((last - first) % 7 + 1))


def _times(text: str, step: Any) -> list[Any]:
    found: list[Any] = []
    for session in text.split(","):
        first, last = (_clock(end) for end in session.split("-"))
        if len(found) + (last - first) // step > MAX_TIMES:
            raise ValueError(f"more than {MAX_TIMES:,} times a day")
        found += [first + number * step for number in range(int((last - first) // step) + 1)]
    return found


def _clock(text: str) -> Any:
    return pd.Timedelta(text if text.count(":") == 2 else f"{text}:00")
