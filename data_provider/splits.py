"""Borders of the training, validation and test splits, in rows of the table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from data_provider.tables.dates import Zone, parse_flag_dates

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Borders:
    """The rows at which the splits end (exclusive); each begins where the previous one ends."""

    train: int
    validation: int
    test: int


def borders_by_fraction(num_rows: int, *, train: float = 0.7, test: float = 0.2) -> Borders:
    """The usual split: `int(0.7 n)` rows for training, `int(0.2 n)` for test, the rest for validation."""
    num_train, num_test = int(num_rows * train), int(num_rows * test)
    return Borders(num_train, num_rows - num_test, num_rows)


def borders_by_date(dates: pd.DatetimeIndex, validation: pd.Timestamp, test: pd.Timestamp) -> Borders:
    """Borders for validation and test that begin at the first row at or after their date."""
    first_validation, first_test = np.searchsorted(dates.to_numpy(), [validation.to_datetime64(), test.to_datetime64()])
    return Borders(int(first_validation), int(first_test), len(dates))


def parse_split(
    text: str | None, dates: pd.DatetimeIndex, *, zone: Zone | None = None, date_format: str | None = None
) -> Borders:
    """Borders from `--split`: three fractions that add up to 1, or two dates. Raises ValueError.

    Dates are read as those of the table: by `date_format`, if given, and in its time zone.
    """
    if text is None:
        return borders_by_fraction(len(dates))
    parts = [part.strip() for part in text.split(",")]
    advice = "give three fractions such as 0.7,0.1,0.2 or two dates such as 2024-01-01,2024-06-01"
    if len(parts) == 3:
        try:
            train, validation, test = (float(part) for part in parts)
        except ValueError:
            raise ValueError(f"--split {text} does not consist of numbers: {advice}") from None
        if min(train, validation, test) <= 0 or abs(train + validation + test - 1) > 1e-6:
            raise ValueError(f"--split {text} must be positive and add up to 1: {advice}")
        return borders_by_fraction(len(dates), train=train, test=test)
    if len(parts) != 2:
        raise ValueError(f"--split {text} has {len(parts)} parts: {advice}")
    if not all(re.search(r"\d{4}|\d[-/.]\d+[-/.]\d", part) for part in parts):
        raise ValueError(f"--split {text} does not consist of dates: {advice}")
    validation_date, test_date = parse_flag_dates(parts, flag="--split", date_format=date_format, zone=zone)
    first: Any = dates.min()
    last: Any = dates.max()
    if not first < validation_date < test_date <= last:
        raise ValueError(f"--split {text} must be two dates in order within {first} .. {last}")
    return borders_by_date(dates, validation_date, test_date)


def rows_of_split(borders: Borders, split: Split, *, seq_len: int, pred_len: int, percent: int = 100) -> range:
    """The rows of a split, look-back included. Raises ValueError if no window fits.

    Validation and test begin `seq_len` rows before their border, so that their number of windows does not depend on
    the look-back. Training ends at row `(border - seq_len) * percent // 100 + seq_len`.
    """
    if split == "train":
        rows = range(0, max(0, (borders.train - seq_len) * percent // 100 + seq_len))
    elif split == "validation":
        rows = range(borders.train - seq_len, borders.validation)
    elif split == "test":
        rows = range(borders.validation - seq_len, borders.test)
    else:
        raise ValueError(f"the split must be train, validation or test, got {split}")
    if rows.start < 0:
        raise ValueError(
            f"the {split} split begins at row {rows.start + seq_len}, fewer than the --seq_len {seq_len} rows that its "
            f"first look-back needs: lower --seq_len to {rows.start + seq_len} or less, or use a longer file"
        )
    if num_windows(rows, seq_len=seq_len, pred_len=pred_len) < 1:
        share = f" ({percent} percent of the training rows)" if split == "train" and percent < 100 else ""
        more = ", or raise --percent" if share else ", or use a longer file"
        raise ValueError(
            f"the {split} split{share} has {len(rows)} rows but one window needs --seq_len {seq_len} + --pred_len "
            f"{pred_len} = {seq_len + pred_len}: lower one of them by {seq_len + pred_len - len(rows)}{more}"
        )
    return rows


def num_windows(rows: range, *, seq_len: int, pred_len: int) -> int:
    """Number of windows of stride 1 in these rows."""
    return max(0, len(rows) - seq_len - pred_len + 1)
