"""Dates: layouts, zones, steps and seasons."""

import pandas as pd
import pytest

from data_provider.tables.calendars import infer_time_step
from data_provider.tables.dates import parse_dates, parse_flag_dates
from data_provider.time_features import feature_names, time_features
from utils.time_steps import dates_after, gaps, season_of_step

FIRST = pd.Timestamp("2024-02-03 04:00")


def parsed(*cells: str) -> list[pd.Timestamp]:
    return list(parse_dates(pd.Series(cells), name="date").dates)


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


def texts(freq: str, periods: int, layout: str) -> list[str]:
    return list(pd.date_range("2000-01-01", periods=periods, freq=freq).strftime(layout))


@pytest.mark.parametrize(
    ("freq", "periods", "layout"),
    [
        ("MS", 36, "%d.%m.%y"),
        ("MS", 36, "%d.%m.%Y"),
        ("h", 48, "%d/%m/%y %H:%M"),
        ("h", 48, "%m/%d/%y %H:%M"),
        ("h", 400, "%d/%m/%Y %I:%M %p"),
        ("D", 100, "%y-%m-%d"),
        ("D", 14, "%d/%m/%Y"),
    ],
)
def test_the_only_reading_that_goes_on_in_even_steps_is_taken(freq: str, periods: int, layout: str):
    expected = list(pd.date_range("2000-01-01", periods=periods, freq=freq))
    assert parsed(*texts(freq, periods, layout)) == expected


def test_a_reading_by_even_steps_is_said():
    notes = parse_dates(pd.Series(texts("MS", 36, "%d.%m.%y")), name="date").notes
    assert "day first" in notes[0]


@pytest.mark.parametrize(
    "cells",
    [
        ("01/02/2024", "02/02/2024", "04/03/2024"),
        ("01/02/2024", "02/02/2024", "03/02/2024"),
        tuple(texts("MS", 12, "%d.%m.%y")),
    ],
)
def test_a_column_that_can_be_read_two_ways_is_refused_with_both_and_decided_by_a_format(cells: tuple[str, ...]):
    with pytest.raises(
        ValueError, match=r"which of day and month comes first: .* can be .*\(day first\) or .*--date_f"
    ):
        parsed(*cells)
    year = "%y" if len(cells[0]) == 8 else "%Y"
    layout = f"%d{cells[0][2]}%m{cells[0][2]}{year}"
    by_format = parse_dates(pd.Series(cells), name="date", date_format=layout).dates
    assert list(by_format)[1] == pd.to_datetime(cells[1], format=layout)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_counts_since_1970_are_read_and_said(unit: str):
    hours = pd.date_range("2020-01-01", periods=3, freq="h")
    counts = pd.Series(hours.astype(f"datetime64[{unit}]").astype("int64"))
    found = parse_dates(counts, name="ts")
    assert list(found.dates) == list(hours)
    assert f"in {unit}" in found.notes[0]


def test_half_seconds_and_half_microseconds_survive():
    assert parsed("2020-01-01 00:00:00.5", "2020-01-01 00:00:01")[0].microsecond == 500_000
    assert parsed("2020-01-01 00:00:00.0000005", "2020-01-01 00:00:00.000001")[0].nanosecond == 500


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("13:00", "14:00"), "holds times of day"),
        (("Jan-20", "Feb-20"), "does not say its year with four digits"),
        (("200101", "200102"), r"can be 2001-01-01 \(%Y%m\) or 2020-01-01"),
        (("13.01.2020", "32.01.2020"), "'32.01.2020' in data row 2, which is not a date"),
    ],
)
def test_what_is_no_date_or_only_half_of_one_is_refused(cells: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        parsed(*cells)


def test_dates_of_a_flag_are_read_by_the_same_rules():
    def read(*dates: str, **options) -> list[pd.Timestamp]:
        return parse_flag_dates(dates, flag="--split", **{"date_format": None, "zone": None, **options})

    assert read("03.09.2020", "2020-12-09", date_format="%d.%m.%Y") == [
        pd.Timestamp("2020-09-03"),
        pd.Timestamp("2020-12-09"),
    ]
    assert read("13.09.2020") == [pd.Timestamp("2020-09-13")]
    with pytest.raises(ValueError, match=r"--split .*03.09.2020 can be 2020-09-03 .* or 2020-03-09"):
        read("03.09.2020", "09.12.2020")
    with pytest.raises(ValueError, match="has a time zone, but the dates of the file have none"):
        read("2020-09-03T00:00:00Z")
    zone = parse_dates(pd.Series(["2020-09-01T00:00:00+02:00", "2020-09-01T01:00:00+02:00"]), name="date").zone
    assert read("2020-09-03 00:00+02:00", "2020-09-03", zone=zone) == [pd.Timestamp("2020-09-02 22:00")] * 2


def test_numbers_are_no_dates():
    with pytest.raises(ValueError, match="holds numbers"):
        parsed("5.827", "6.1")


def test_hours_with_a_zone_become_utc_and_come_back():
    found = parse_dates(pd.Series(["2024-02-03T05:00:00+01:00", "2024-02-03T06:00:00+01:00"]), name="date")
    assert next(iter(found.dates)) == FIRST
    assert "UTC+01:00 and are converted to UTC" in found.notes[-1]
    zoned = pd.date_range("2024-06-01", periods=3, freq="h", tz="Europe/Berlin")
    found = parse_dates(pd.Series(zoned), name="date")
    assert next(iter(found.dates)) == pd.Timestamp("2024-05-31 22:00")
    assert found.zone is not None and list(found.zone.restored(found.dates)) == list(zoned)


def test_days_of_a_zone_stay_its_days_through_the_change_of_summer_time():
    days = pd.date_range("2024-03-25", periods=20, freq="D", tz="Europe/Berlin")
    found = parse_dates(pd.Series(days), name="date")
    assert next(iter(found.dates)) == pd.Timestamp("2024-03-25") and infer_time_step(found.dates) == "D"
    assert found.zone is not None and list(found.zone.restored(found.dates)) == list(days)


def test_midnights_written_with_the_offsets_of_summer_and_winter_are_days():
    days = pd.date_range("2024-03-25", periods=20, freq="D", tz="Europe/Berlin")
    found = parse_dates(pd.Series(days.astype(str)), name="date")
    assert list(found.dates) == list(days.tz_localize(None)) and found.zone is None
    assert "read as its days" in found.notes[0]
    hours = pd.Series([*days.astype(str)[:-1], "2024-04-13 01:00:00+02:00"])
    with pytest.raises(ValueError, match="mixes UTC offsets"):
        parse_dates(hours, name="date")


@pytest.mark.parametrize("freq", ["10s", "min", "15min", "h", "D", "7D", "MS", "3MS", "ME", "B"])
def test_the_step_of_regular_dates_is_found_and_continues_them(freq: str):
    dates = list(pd.date_range("2020-01-01", periods=60, freq=freq))
    step = infer_time_step(pd.DatetimeIndex(dates[:50]))
    assert list(dates_after(dates[49], step, 10)) == dates[50:]


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
