"""Dates: layouts, zones, steps and seasons."""

import pandas as pd
import pytest

from data_provider.tables.dates import continue_dates, gaps, infer_time_step, parse_dates, season_of_step
from data_provider.time_features import feature_names, time_features

FIRST = pd.Timestamp("2024-02-03 04:00")


def parsed(*cells: str) -> list[pd.Timestamp]:
    return list(parse_dates(pd.Series(cells), name="date")[0])


@pytest.mark.parametrize(
    "cells",
    [
        ("2024-02-03 04:00:00", "2024-02-13 04:00:00"),
        ("2024/2/3 4:00", "2024/2/13 4:00"),
        ("2024-02-03T04:00:00Z", "2024-02-13T04:00:00Z"),
        ("2024-02-03T05:00:00+01:00", "2024-02-13T05:00:00+01:00"),
        ("2024-02-02 23:00:00-0500", "2024-02-12 23:00:00-0500"),
        ("03.02.2024 04:00", "13.02.2024 04:00"),
        ("02/03/2024 04:00", "02/13/2024 04:00"),
    ],
)
def test_common_layouts_are_read(cells: tuple[str, str]):
    assert parsed(*cells) == [FIRST, FIRST + pd.Timedelta(days=10)]


def test_dates_alone_years_and_days_without_separator_are_read():
    assert parsed("2024-02-03", "2024-02-04")[1] == pd.Timestamp("2024-02-04")
    assert parsed("20240203", "20240204")[1] == pd.Timestamp("2024-02-04")
    assert parsed("1999", "2000")[1] == pd.Timestamp("2000-01-01")


def test_the_regular_reading_of_two_possible_ones_is_taken():
    assert parsed("01/02/2024", "02/02/2024", "03/02/2024")[1] == pd.Timestamp("2024-02-02")


def test_a_column_that_can_be_read_two_ways_is_refused():
    with pytest.raises(ValueError, match="does not say which of day and month comes first"):
        parsed("01/02/2024", "02/02/2024", "04/03/2024")


def test_numbers_are_no_dates():
    with pytest.raises(ValueError, match="holds numbers"):
        parsed("5.827", "6.1")


def test_a_conversion_to_utc_is_noted():
    _, note = parse_dates(pd.Series(["2024-02-03T05:00:00+01:00"] * 2), name="date")
    assert note is not None
    assert "+01:00 and are converted to UTC" in note
    zoned = pd.Series(pd.date_range("2024-06-01", periods=2, freq="h", tz="Europe/Berlin"))
    dates, note = parse_dates(zoned, name="date")
    assert next(iter(dates)) == pd.Timestamp("2024-05-31 22:00")
    assert note is not None


@pytest.mark.parametrize("freq", ["10s", "min", "15min", "h", "D", "7D", "MS", "3MS", "ME", "B"])
def test_the_step_of_regular_dates_is_found_and_continues_them(freq: str):
    dates = list(pd.date_range("2020-01-01", periods=60, freq=freq))
    step = infer_time_step(pd.DatetimeIndex(dates[:50]))
    assert list(continue_dates(dates[49], step, 10)) == dates[50:]


def test_the_step_of_dates_with_gaps_is_the_usual_one():
    dates = pd.date_range("2020-01-01", periods=60, freq="15min").delete([7, 8, 30])
    assert infer_time_step(dates) == "15min"
    assert gaps(dates, "15min") == [
        (pd.Timestamp("2020-01-01 01:30"), pd.Timestamp("2020-01-01 02:15")),
        (pd.Timestamp("2020-01-01 07:15"), pd.Timestamp("2020-01-01 07:45")),
    ]


def test_months_of_different_lengths_are_no_gaps():
    assert gaps(pd.date_range("2020-01-01", periods=24, freq="MS"), "MS") == []


@pytest.mark.parametrize(
    ("step", "season"),
    [
        ("10min", 144),
        ("15min", 96),
        ("h", 24),
        ("D", 7),
        ("B", 5),
        ("7D", 52),
        ("W-TUE", 52),
        ("MS", 12),
        ("QS-OCT", 4),
        ("YS", 1),
    ],
)
def test_the_season_follows_from_the_step(step: str, season: int):
    assert season_of_step(step) == season


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("10min", ["minute", "hour", "day_of_week", "day_of_month", "day_of_year"]),
        ("h", ["hour", "day_of_week", "day_of_month", "day_of_year"]),
        ("D", ["day_of_week", "day_of_month", "day_of_year"]),
        ("7D", ["day_of_month", "week_of_year"]),
        ("MS", ["month_of_year"]),
    ],
)
def test_calendar_features_follow_the_step_and_stay_within_half(step: str, names: list[str]):
    assert feature_names(step) == names
    features = time_features(pd.date_range("2019-12-28", periods=400, freq=step), step)
    assert features.shape == (400, len(names))
    assert features.min() >= -0.5
    assert features.max() <= 0.5


def test_calendar_features_reach_both_ends():
    ends = time_features(pd.DatetimeIndex(["2024-01-01 00:00", "2023-12-31 23:00"]), "h")
    assert ends.tolist()[0] == [-0.5, -0.5, -0.5, -0.5]
    assert ends[1, 0] == 0.5  # the last hour of a day
    assert ends[1, 1] == 0.5  # a Sunday
