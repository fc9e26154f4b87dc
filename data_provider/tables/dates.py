"""Parse a date column: layouts, two possible readings, epochs, time zones."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data_provider.tables.calendars import infer_time_step, irregularity
from utils.time_steps import gaps

_SHORT = re.compile(r"^\d{1,4}([/.-])\d{1,2}\1\d{1,4}(?!\d)")
_NUMBER = re.compile(r"^[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?$")
_TIME_ONLY = re.compile(r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?$")
# `-0500` is a zone only after minutes or seconds: `15-03-2020` looks the same at its end.
_ZONE = re.compile(r"(?:\+\d{2}(?::?\d{2})?|-\d{2}:\d{2}|(?<=:\d{2})-\d{4}|Z|UTC|GMT)$")
_MIDNIGHT = r"\d{4}-\d{2}-\d{2}[ T]00:00(:00(\.0+)?)?"
# Number of digits -> layout of dates written without separators.
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Number of digits before the point -> unit of a count since 1970.
_EPOCHS = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
EPOCH_UNITS = ("s", "ms", "us", "ns")
_ORDERS = {"day first": "dmy", "month first": "mdy", "year first": "ymd"}
ADVICE = "say which by --date_format, such as %d.%m.%Y, or write YYYY-MM-DD HH:MM"


@dataclass(frozen=True)
class Zone:
    """A table's time zone. Dates inside are UTC; if `is_local`, they are the zone's own days, from its midnight on."""

    info: datetime.tzinfo
    is_local: bool

    def inside(self, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Dates with a zone, or without one but meant in this zone, as they are used inside."""
        if dates.tz is None:
            dates = dates.tz_localize(self.info, ambiguous=np.ones(len(dates), bool), nonexistent="shift_forward")
        return dates.tz_convert(self.info if self.is_local else "UTC").tz_localize(None)

    def restored(self, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The inverse: dates with this zone."""
        if self.is_local:
            ambiguous = np.ones(len(dates), bool)
            return dates.tz_localize(self.info, ambiguous=ambiguous, nonexistent="shift_forward")
        return dates.tz_localize("UTC").tz_convert(self.info)


@dataclass(frozen=True, eq=False)
class ParsedDates:
    """Dates as they are used inside, without zone; the zone they came with; remarks on their reading."""

    dates: pd.DatetimeIndex
    zone: Zone | None = None
    notes: tuple[str, ...] = ()


def parse_dates(column: pd.Series, *, name: str, date_format: str | None = None, lenient: bool = False) -> ParsedDates:
    """Parse dates to timestamps without time zone.

    Dates with a zone become UTC, or the zone's days where all are at its midnight (also in the offsets of summer and
    winter). `date_format` is a format of
    `strptime`, or s, ms, us, ns for counts since 1970. Raises ValueError naming the first cell that is not a date, for
    dates that can be read two ways, and for mixed UTC offsets. `lenient` turns invalid cells into NaT and converts
    mixed offsets to UTC, but still refuses a mix of dates with and without zone.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _with_zone(pd.DatetimeIndex(column.dt.tz_convert("UTC")), column.dtype.tz)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return ParsedDates(pd.DatetimeIndex(column))
    text = column.astype("string").str.strip()
    if text.isna().any() and not lenient:
        raise ValueError(f"the date column {name} has an empty cell in data row {int(text.isna().argmax()) + 1}")
    offsets = _offsets(text)
    if len(offsets) > 1 and date_format is None and (days := _local_days(text)) is not None:
        shown = ", ".join(sorted(offsets))
        return ParsedDates(days, None, (f"dates are midnights of a zone with summer time ({shown}): read as its days",))
    if len(offsets) > 1 and (not lenient or "none" in offsets):
        way_out = "write one zone everywhere, or none"
        if "none" not in offsets:
            way_out = "`python -m data_provider.check FILE --fix interpolate` writes a copy in UTC"
        raise ValueError(f"the date column {name} mixes UTC offsets ({', '.join(sorted(offsets))}): {way_out}")
    parsed, notes = _parse_text(text, name=name, date_format=date_format, utc=offsets != {"none"})
    bad = parsed.isna()
    if bad.any() and not lenient:
        row = int(bad.argmax())
        asked = f" of --date_format {date_format}" if date_format else ""
        raise ValueError(
            f"the date column {name} holds {text.iloc[row]!r} in data row {row + 1}, which is not a date{asked}"
        )
    if parsed.tz is None:
        return ParsedDates(parsed, None, notes)
    return _with_zone(parsed, datetime.UTC if len(offsets) > 1 else _zone_of(next(iter(offsets))), notes)


def parse_flag_dates(
    texts: Sequence[str], *, flag: str, date_format: str | None, zone: Zone | None
) -> list[pd.Timestamp]:
    """Dates of a flag, read by the rules of a column; with a zone only where the table has one. Raises ValueError."""
    found: list[Any] = []
    for text in texts:
        is_iso = re.match(r"^\d{4}-\d{2}(-\d{2})?($|[ T])", text) is not None
        try:
            column = pd.Series([text])
            parsed = _parse_text(
                column, name=flag, date_format=None if is_iso else date_format, utc=_offsets(column) != {"none"}
            )[0]
        except ValueError as error:
            raise ValueError(str(error).replace("the date column ", "")) from None
        if parsed.isna().any():
            raise ValueError(f"{flag} {text} is not a date" + (f" of --date_format {date_format}" * bool(date_format)))
        if parsed.tz is not None and zone is None:
            raise ValueError(f"{flag} {text} has a time zone, but the dates of the file have none: leave it out")
        found.append((parsed if zone is None else zone.inside(parsed))[0])
    return found


def _with_zone(utc: pd.DatetimeIndex, info: datetime.tzinfo, notes: tuple[str, ...] = ()) -> ParsedDates:
    local = utc.tz_convert(info).tz_localize(None)
    known = local.dropna()
    is_local = len(known) > 1 and bool((known == known.normalize()).all())
    used = "its days" if is_local else "UTC (calendar features then count UTC hours)"
    note = f"dates carry the zone {info} and are converted to {used}; forecasts are in {info} again"
    if str(info) == "UTC":
        note = "dates are in UTC, and so are forecasts"
    return ParsedDates(local if is_local else utc.tz_localize(None), Zone(info, is_local), (*notes, note))


def _zone_of(offset: str) -> datetime.tzinfo:
    if offset in ("Z", "UTC", "GMT"):
        return datetime.UTC
    digits = offset[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return datetime.timezone(datetime.timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _local_days(text: pd.Series) -> pd.DatetimeIndex | None:
    """The days of dates that are all at midnight in the offset that each carries; None if one is not."""
    plain = text.str.replace(_ZONE, "", regex=True)
    if text.isna().any() or (plain == text).any() or not plain.str.fullmatch(_MIDNIGHT).all():
        return None
    days = pd.DatetimeIndex(pd.to_datetime(plain.str.slice(0, 10), format="%Y-%m-%d", errors="coerce"))
    return None if days.hasnans else days


def _offsets(text: pd.Series) -> set[str]:
    """The UTC offsets in the column, `none` for dates without one."""
    found = (_ZONE.search(str(ending)) for ending in text.dropna().str.slice(-9).unique())
    return {match.group() if match else "none" for match in found}


def _parse_text(
    text: pd.Series, *, name: str, date_format: str | None, utc: bool
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Timestamps, NaT where a cell is not a date, and remarks."""
    first = str(text.dropna().iloc[0]) if text.notna().any() else ""
    if date_format in EPOCH_UNITS:
        return _since_1970(text, date_format), ()
    if date_format is not None:
        try:
            return pd.DatetimeIndex(pd.to_datetime(text, format=date_format, errors="coerce", utc=utc)), ()
        except ValueError as error:
            raise ValueError(f"--date_format {date_format} is not a format of strptime: {error}") from None
    if _NUMBER.match(first):
        return _parse_digits(text, first, name=name)
    if _TIME_ONLY.match(first):
        raise ValueError(f"the date column {name} holds times of day ({first}) without a date: name both columns, "
                         "such as --date_column date,time")  # fmt: skip
    if _SHORT.match(first) and not re.match(r"^\d{4}[/.-]", first):
        return _parse_ordered(text, first, name=name, utc=utc)
    if not re.search(r"\d{4}", first):
        raise ValueError(f"the date column {name} does not say its year with four digits (first cell {first!r}): "
                         f"{ADVICE}")  # fmt: skip
    # `mixed` also reads `2020-01-01` next to `2020-01-01 00:10:00`; ISO dates are parsed as fast as with a format.
    return pd.DatetimeIndex(pd.to_datetime(text, utc=utc, errors="coerce", format="mixed")), ()


def _parse_digits(text: pd.Series, first: str, *, name: str) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Dates without separators (20200131), or counts since 1970."""
    whole = first.partition(".")[0]
    if whole == first and re.match(r"^(1[89]|2[01])\d\d", first) and len(first) in _DIGITS:
        parsed = pd.DatetimeIndex(pd.to_datetime(text, format=_DIGITS[len(first)], errors="coerce"))
        if len(first) not in (6, 10) or not parsed.isna().any():
            if len(first) == 6:
                two_digits = pd.to_datetime(text, format="%y%m%d", errors="coerce")
                if two_digits.notna().all():
                    raise ValueError(_two_readings(name, text, {"%Y%m": parsed, "%y%m%d": two_digits}))
            return parsed, ()
    unit = _EPOCHS.get(len(whole.lstrip("+-")))
    if unit is None or not text.dropna().str.match(_NUMBER).all():
        raise ValueError(f"the date column {name} holds numbers ({first}): write dates as YYYY-MM-DD HH:MM")
    return _since_1970(text, unit), (f"dates are counts since 1970 in {unit} (UTC)",)


def _since_1970(text: pd.Series, unit: str) -> pd.DatetimeIndex:
    numbers: Any = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all() and (numbers % 1 == 0).all():
        numbers = numbers.astype("int64")
    return pd.DatetimeIndex(pd.to_datetime(numbers, unit=unit, errors="coerce"))  # pyright: ignore


def _parse_ordered(text: pd.Series, first: str, *, name: str, utc: bool) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Parse dates like `03/04/2020` or `03.04.20` if only one order is valid, or only one goes on in regular steps."""
    pattern = r"^(?P<a>\d{1,4})[/.-](?P<b>\d{1,2})[/.-](?P<c>\d{1,4})(?P<rest>.*)$"
    parts = text.str.extract(pattern)
    readings: dict[str, pd.DatetimeIndex] = {}
    for label, order in _ORDERS.items():
        part = {letter: parts["abc"[place]] for place, letter in enumerate(order)}
        if order == "ymd" and len(first.split("-")[0].split(".")[0].split("/")[0]) != 2:
            continue
        parsed = _assembled(part["y"], part["m"], part["d"], parts["rest"], utc=utc)
        if not (parsed.isna() & text.notna().to_numpy()).any():
            readings.setdefault(label, parsed)
    different = dict(readings)
    for label in list(different):
        others = [other for other in different if other != label]
        if any(different[label].equals(different[other]) for other in others):
            del different[label]
    if not different:
        # Kept for the message about the first cell that is no date.
        parsed = _assembled(parts["c"], parts["b"], parts["a"], parts["rest"], utc=utc)
        return parsed, ()
    if len(different) == 1:
        return next(iter(different.values())), ()
    regular = {label: dates for label, dates in different.items() if _is_regular(dates)}
    if len(regular) != 1:
        raise ValueError(_two_readings(name, text, regular or different))
    ((label, dates),) = regular.items()
    return dates, (f"dates are read {label}: in every other order their steps would be uneven",)


def _assembled(year: pd.Series, month: pd.Series, day: pd.Series, rest: pd.Series, *, utc: bool) -> pd.DatetimeIndex:
    """Timestamps from their parts; two-digit years are 1969 to 2068."""
    year = year.fillna("").where(year.str.len().isin([2, 4]), "")
    century = pd.Series(np.where(year < "69", "20", "19"), index=year.index)
    year = year.where(year.str.len() == 4, century + year)
    iso = year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    is_date = iso.str.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])").fillna(False)
    # The date alone must be valid: pandas would swap day and month in single cells otherwise.
    is_date &= pd.to_datetime(iso.where(is_date), format="%Y-%m-%d", errors="coerce").notna()
    whole = (iso + rest.fillna("")).where(is_date)
    return pd.DatetimeIndex(pd.to_datetime(whole, utc=utc, errors="coerce", format="mixed"))


def _is_regular(dates: pd.DatetimeIndex) -> bool:
    """Whether dates rise in the steps of one calendar, without a gap."""
    if len(dates) < 3 or not dates.is_monotonic_increasing or dates.has_duplicates:
        return False
    plain = dates.tz_localize(None)
    step = infer_time_step(plain)
    return irregularity(plain, step) is None and not gaps(plain, step)


def _two_readings(name: str, text: pd.Series, readings: dict[str, Any]) -> str:
    known = text.notna().to_numpy()
    row = next(
        row
        for row in np.flatnonzero(known)
        if len({str(pd.DatetimeIndex(found)[row]) for found in readings.values()}) > 1
    )
    shown = " or ".join(f"{pd.DatetimeIndex(found)[row]:%Y-%m-%d} ({label})" for label, found in readings.items())
    return (
        f"the date column {name} does not say which of day and month comes first: {text.iloc[row]} can be {shown}: "
        f"{ADVICE}"
    )
