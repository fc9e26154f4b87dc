"""Load and validate a user's own table, or a benchmark file that differs from the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from data_provider.config import READING_FLAGS, DataConfig
from data_provider.datasets import CUSTOM, DATASETS, Benchmark
from data_provider.known_future import split_table
from data_provider.panel import Panel
from data_provider.panel.table import panel_of, series_of
from data_provider.scaling import Standardizer
from data_provider.series import Series, benchmark_series, build_series
from data_provider.splits import Borders, parse_split
from data_provider.tables.calendars import infer_time_step, irregularity
from data_provider.tables.table import Reading, Table, column_names, read_table
from utils.time_steps import gaps, in_words, season_of_step

# The square of a larger value, and the square of the inverse of a smaller spread, is not far from what float64 holds.
LARGEST = 1e150


def load(config: DataConfig, path: Path, *, fingerprint: str, known_future: Sequence[str] = ()) -> Series | Panel:
    """Load a table with all checks. Raises ValueError if it is invalid."""
    series = _custom(config, path, known_future) if config.data == CUSTOM else _benchmark(config, path, fingerprint)
    if isinstance(series, Panel):
        return series
    place = series.scaler.first_unscalable(series.values)
    if place is not None:
        raise ValueError(f"{path} {unscalable(series.dates, series.columns, series.values, place)}")
    check_sizes(series.values, series.columns, path)
    return series


def unscalable(dates: pd.DatetimeIndex, columns: list[str], values: np.ndarray, place: tuple[int, int]) -> str:
    """What is wrong with a value that cannot be scaled, and the way out."""
    row, channel = place
    return (
        f"has {values[row, channel]:g} in column {columns[channel]} at {dates[row]} (data row {row + 1}), which is too "
        "large to be scaled: correct it, or choose the channels with --columns"
    )


def check_sizes(values: np.ndarray, columns: list[str], path: Path) -> None:
    """Check that squares of the values are numbers, too. Raises ValueError."""
    highest, lowest = values.max(axis=0), values.min(axis=0)
    largest = np.maximum(np.abs(highest), np.abs(lowest))
    with np.errstate(over="ignore"):
        span = highest - lowest
    for name, size, spread in zip(columns, largest, span, strict=True):
        if size > LARGEST or 0 < spread < 1 / LARGEST:
            wrong = f"up to {size:.3g}" if size > LARGEST else f"that differ by {spread:.3g} only"
            raise ValueError(
                f"{path}: column {name} holds values {wrong}, whose squared errors are no numbers any more: write "
                "it in another unit, or leave it out with --columns"
            )


def _custom(config: DataConfig, path: Path, known_future: Sequence[str]) -> Series | Panel:
    reading = reading_of(config)
    if reading.columns is not None and known_future:
        others = [name for name in known_future if name not in reading.columns]
        reading = replace(reading, columns=(*reading.columns, *others))
    table, known = read_table(path, reading), np.zeros((0, 0))
    if known_future:
        whole = table
        table, known, num_future = split_table(table, known_future)
        end = len(table.dates) - num_future
        note = f"{', '.join(known_future)}: known columns, read beside the channels"
        after = (
            [f"{num_future} rows after the last channel's are the known future, not trained on"] if num_future else []
        )
        table = replace(table, dates=table.dates[:end], values=table.values[:end], notes=[*table.notes, note, *after])
        known = known[:end]
        check_table(replace(whole, dates=whole.dates[:end], values=whole.values[:end]))
    if table.is_panel and config.features == "S" and config.target in table.columns:
        table = series_of(table, table.columns.index(config.target))
    if table.is_panel:
        return panel_of(config, path, table, check=partial(_check_series, seq_len=config.seq_len))
    check_table(table)
    if len(table.dates) < 3:
        raise ValueError(
            f"{path} has too few rows: {len(table.dates)}, and at least 3 are needed to infer its time step"
        )
    time_step = infer_time_step(table.dates)
    check_regular(table, time_step, seq_len=config.seq_len)
    borders = parse_split(config.split, table.dates, zone=table.zone, date_format=config.date_format)
    series = build_series(
        config,
        path,
        table.dates,
        table.columns,
        table.values,
        borders=borders,
        time_step=time_step,
        season_length=season_of_step(time_step),
        notes=[_shape_note(config, table, borders, time_step), *table.notes, *_gap_note(table, time_step)],
    )
    if not known_future:
        return series
    known_columns = Table(path, list(known_future), table.dates, known, table.date_column, [], [])
    check_scaled(known_columns, num_training_rows=borders.train)
    return series.with_known_future(known_future, known)


def _check_series(table: Table, num_training_rows: int, *, seq_len: int) -> None:
    """Check one series of a panel. Raises ValueError."""
    check_table(table)
    check_regular(table, infer_time_step(table.dates), seq_len=seq_len)
    check_scaled(table, num_training_rows=num_training_rows)


def check_scaled(table: Table, *, num_training_rows: int) -> None:
    """Check that all values can be scaled as the training rows say, and squared. Raises ValueError."""
    place = Standardizer.fit(table.values[:num_training_rows]).first_unscalable(table.values)
    if place is not None:
        raise ValueError(f"{table.path} {unscalable(table.dates, table.columns, table.values, place)}")
    check_sizes(table.values, table.columns, table.path)


def reading_of(config: DataConfig) -> Reading:
    """How the flags say that the file is to be read."""
    flags = {name: getattr(config, name) for name in READING_FLAGS}
    return Reading(**{**flags, "columns": column_names(config.columns)})


def _benchmark(config: DataConfig, path: Path, fingerprint: str) -> Series:
    benchmark = DATASETS[config.data]
    table = read_table(path, Reading(date_column="date"))
    check_shape(table, benchmark, name=config.data)
    check_table(table)
    notes = list(table.notes)
    if benchmark.sha256 is not None:
        notes.append(f"not the published file (SHA-256 {fingerprint[:12]}...), but of the same shape and valid")
    return benchmark_series(config, path, table.dates, table.columns, table.values, notes=notes)


def check_shape(table: Table, benchmark: Benchmark, *, name: str) -> None:
    """Check that the table has the shape and columns of the data set `name`. Raises ValueError."""
    expected, found = (benchmark.num_rows, benchmark.num_channels), table.values.shape
    if tuple(found) != expected:
        raise ValueError(
            f"{table.path} does not fit --data {name}: expected {expected[0]} rows x {expected[1]} channels, found "
            f"{found[0]} x {found[1]}; use --data custom --data_path {table.path} for another table"
        )
    if benchmark.columns is not None and tuple(table.columns) != benchmark.columns:
        raise ValueError(
            f"{table.path} does not fit --data {name}: expected the columns {', '.join(benchmark.columns)}, found "
            f"{', '.join(table.columns)}; use --data custom --data_path {table.path} for another table"
        )


def check_table(table: Table) -> None:
    """Check for missing cells and for unsorted or repeated dates. Raises ValueError; nothing is repaired."""
    way_out = f"`python -m data_provider.check {table.path} --fix interpolate` writes a repaired copy"
    wrong = ~np.isfinite(table.values)
    if wrong.any():
        row, channel = (int(index) for index in np.argwhere(wrong)[0])
        raise ValueError(
            f"{table.path} has {int(wrong.sum())} missing or infinite cells, the first in column "
            f"{table.columns[channel]} at {table.dates[row]}: {way_out}"
        )
    steps = np.diff(table.dates.asi8)
    for is_wrong, word in ((steps < 0, "not sorted"), (steps == 0, "repeated")):
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise ValueError(
                f"{table.path}: dates are {word}: {table.dates[row + 1]} follows {table.dates[row]} in data row "
                f"{row + 2}: {way_out}"
            )


def check_regular(table: Table, time_step: str, *, seq_len: int) -> None:
    """Check that the rows, and the last `seq_len` that a forecast would read, follow the step. Raises ValueError."""
    for dates, which in ((table.dates, "its dates"), (table.dates[-seq_len:], "its last dates")):
        reason = irregularity(dates, time_step)
        if reason is not None:
            raise ValueError(
                f"{table.path}: {which} have no regular step: {reason}: bring the table to one step first, for example "
                "by pandas.DataFrame.resample"
            )


def _shape_note(config: DataConfig, table: Table, borders: Borders, time_step: str) -> str:
    columns = [config.target] if config.features == "S" else table.columns
    names = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
    return (
        f"{len(table.values)} rows x {len(columns)} channels ({names}), step {in_words(time_step)}, "
        f"{table.dates[0]} .. {table.dates[-1]}; training ends at row {borders.train}, validation at "
        f"{borders.validation}, test at {borders.test}"
    )


def _gap_note(table: Table, time_step: str) -> list[str]:
    found = gaps(table.dates, time_step)
    if not found:
        return []
    first = f"{found[0][0]} .. {found[0][1]}"
    return [f"{len(found)} gap(s) in the dates, the first {first}: windows run across them as if there were none"]
