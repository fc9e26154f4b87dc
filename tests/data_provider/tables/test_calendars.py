"""Calendars with gaps: each is named, continued on itself, and a step that is none is told."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_provider.tables.calendars import infer_time_step, irregularity
from utils.time_steps import dates_after, dates_before, gaps, in_words, missing_dates, next_dates, season_of_step


def open_hours() -> pd.DatetimeIndex:
    dates = pd.date_range("2024-01-01", "2024-03-01", freq="30min")
    minutes = dates.hour * 60 + dates.minute
    return dates[(dates.day_of_week < 5) & (minutes >= 570) & (minutes <= 960)]


def days_of(*weekdays: int) -> pd.DatetimeIndex:
    dates = pd.date_range("2024-01-01", "2024-06-01")
    return dates[np.isin(dates.day_of_week, weekdays)]


def months_on(day: int) -> pd.DatetimeIndex:
    starts = pd.date_range("1990-01-01", periods=60, freq="MS")
    return pd.DatetimeIndex([start.replace(day=min(day, start.days_in_month)) for start in starts])


CALENDARS: dict[str, tuple[Any, int]] = {
    "B": (pd.bdate_range("2020-01-06", periods=400), 5),
    "MS": (pd.date_range("1990-01-01", periods=300, freq="MS"), 12),
    "ME": (pd.date_range("1990-01-01", periods=300, freq="ME"), 12),
    "3MS": (pd.date_range("1990-01-01", periods=100, freq="QS"), 4),
    "3ME": (pd.date_range("1990-01-01", periods=100, freq="QE"), 4),
    "12ME": (pd.date_range("1700-01-01", periods=100, freq="YE"), 1),
    "BME": (pd.date_range("1990-01-01", periods=100, freq="BME"), 12),
    "MS+14D": (months_on(15), 12),
    "MS+29D": (months_on(30), 12),
    "D@Mon-Sat": (days_of(0, 1, 2, 3, 4, 5), 6),
    "D@Sun-Thu": (days_of(0, 1, 2, 3, 6), 5),
    "30min@Mon-Fri 09:30-16:00": (open_hours(), 14),
    "D": (pd.date_range("2024-01-01", periods=100), 7),
    "7D": (pd.date_range("2024-01-03", periods=100, freq="7D"), 52),
    "500ms": (pd.date_range("2024-01-01", periods=100, freq="500ms"), 172_800),
    "500ns": (pd.date_range("2024-01-01", periods=100, freq="500ns"), 172_800_000_000),
}


@pytest.mark.parametrize("step", CALENDARS)
def test_a_calendar_with_missing_rows_is_recognised_and_continued_on_itself(step):
    dates, season = CALENDARS[step]
    known = dates[:-10].delete([17, 18, 40])
    assert infer_time_step(known) == step
    assert irregularity(known, step) is None
    assert season_of_step(step) == season
    assert list(dates_after(known[-1], step, 10)) == list(dates[-10:])
    assert list(dates_before(dates[10], step, 10)) == list(dates[:10])
    assert gaps(known, step) == [(dates[16], dates[19]), (dates[39], dates[41])]
    found = missing_dates(dates[16], dates[19], step, limit=10)
    assert found is not None and list(found) == [dates[17], dates[18]]
    assert list(next_dates(dates[:-1], step)) == list(dates[1:])


def test_years_beyond_those_of_nanoseconds_are_continued():
    years = pd.DatetimeIndex([pd.Timestamp(year, 1, 1).as_unit("us") for year in range(1500, 2300)])
    assert infer_time_step(years) == "12MS"
    last: Any = pd.Timestamp(2299, 1, 1)
    assert list(dates_after(last, "12MS", 1)) == [pd.Timestamp(2300, 1, 1)]
    assert gaps(years, "12MS") == []


def test_a_few_days_with_a_gap_are_days():
    assert infer_time_step(pd.date_range("2024-01-01", periods=10).delete([2, 3])) == "D"


def test_a_calendar_is_explained():
    assert in_words("B") == "B (working days)"
    assert in_words("12ME") == "12ME (year ends)" and in_words("2MS") == "2MS (month starts)"
    assert in_words("h") == "h"


@pytest.mark.parametrize("seconds", ["jitter", "events"])
def test_an_uneven_step_is_told(seconds):
    generator = np.random.default_rng(0)
    if seconds == "jitter":
        offsets = np.arange(400) * 600 + generator.integers(0, 8, 400)
    else:
        offsets = np.cumsum(1 + generator.exponential(3600, 400).astype(int))
    dates = pd.DatetimeIndex(pd.Timestamp("2020-01-01") + pd.to_timedelta(offsets, unit="s"))
    reason = irregularity(dates, infer_time_step(dates))
    assert reason is not None and "% of its rows are one step" in reason
