"""Output of a prediction: the table of forecasts, and the note on their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from data_provider.tables.long_format import LongNames
from exp.predict.forecaster import FittedForecaster
from utils.intervals.conformal import Intervals
from utils.terminal import aligned

SUFFIXES = (".csv", ".parquet")
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
# Forecasts are computed in float32, in units of a column's spread: digits after the tenth of it are noise.
DIGITS_OF_SPREAD = 10
# Beyond these, rounding itself would overflow.
MAX_DECIMALS = 200
# A channel whose intervals hold so much less than their level is named.
CLEARLY = 0.02


def decimals_of(forecaster: FittedForecaster, *, long: LongNames | None = None) -> dict[str, int]:
    """Column -> the decimals that its forecasts have: as many for 1e10 + a sine of 1 as for the sine alone."""
    scale = forecaster.scaler.scale[forecaster.target_channels]
    decimals = [DIGITS_OF_SPREAD - 1 - math.floor(math.log10(spread)) for spread in scale]
    # In long format one column holds all series: it has the digits of the one that needs the most.
    names = forecaster.target_columns if long is None else [long.value]
    return {
        f"{name}{bound}": count
        for name, count in zip(names, decimals if long is None else [max(decimals)], strict=True)
        for bound in ("", "_lower", "_upper")
    }


def write_tables(path: Path, tables: Iterator[pd.DataFrame], *, decimals: Mapping[str, int]) -> int:
    """Write `tables` one below the other, as CSV or Parquet by the suffix of `path`. Returns the number of rows.

    Tables are written one by one, so that a long rolling forecast need not fit into memory.
    """
    return _write_parquet(path, tables) if path.suffix.lower() == ".parquet" else _write_csv(path, tables, decimals)


def uncertainty_note(
    forecaster: FittedForecaster,
    *,
    level: float | None,
    remarks: Sequence[str],
    quantiles: tuple[int, int] | None = None,
) -> str:
    """Text on the expected error: test errors per column in original units, interval coverage, and `remarks`.

    `quantiles` are the places of those that bound the intervals, if they do.
    """
    header, folder = forecaster.header, forecaster.folder
    lines = [f"forecast of {header['model']}, run {header.get('run_id', folder.path.name)}"]
    if header.get("labels"):
        lines.append(f"not a serious forecast: {', '.join(header['labels'])}")
    lines += remarks
    tests = folder.read_metrics()["tests"] if folder.is_finished else {}
    test: Any = tests.get(forecaster.series.name)
    needed = {"columns", "mae_original", "mse_original"}
    if test is None or not needed <= set(test.get("per_channel", {})) or "num_windows" not in test:
        return "\n".join([*lines, f"its test errors are not known: {folder.metrics} holds none"])
    lines += [
        "",
        f"errors on {test['num_windows']} test windows of {forecaster.series.name}, over all "
        f"{forecaster.data.pred_len} steps, in the units of the column",
        _error_table(test["per_channel"], forecaster),
        "",
        "These are means over the past: single values can be further off, and the future may be of another kind.",
    ]
    held = None
    if level is not None:
        held = _held_in_test(forecaster, level) if not quantiles else _held_by_quantiles(forecaster, test, quantiles)
    if level is not None and held is not None:
        lines.append(held_in_words(level, held, forecaster.target_columns, where="the test values"))
    return "\n".join(lines)


def held_in_words(level: float, held: Sequence[float], columns: Sequence[str], *, where: str) -> str:
    """How much intervals held, and the channels where it was clearly less than the level."""
    shares = sorted(zip(held, columns, strict=True))
    worst = [f"{name} only {100 * share:.1f} %" for share, name in shares if share < level - CLEARLY]
    more = f" and {len(worst) - 5} more such columns" if len(worst) > 5 else ""
    named = f", {', '.join(worst[:5])}{more}" if worst and len(shares) > 1 else ""
    return f"Intervals of level {level:g} held {100 * sum(held) / len(held):.1f} % of {where}{named}."


def _held_in_test(forecaster: FittedForecaster, level: float) -> list[float] | None:
    """The share of test values per channel inside the intervals of a level; None if it was not counted."""
    path = forecaster.checkpoint.with_name(forecaster.folder.intervals.name)
    intervals = Intervals.load(path) if path.is_file() else None
    if intervals is not None and intervals.coverage is not None and level in intervals.levels:
        return intervals.coverage[intervals.levels.index(level)].tolist()
    test: Any = forecaster.folder.read_metrics()["tests"][forecaster.series.name]
    return test.get("coverage", {}).get("per_channel", {}).get(f"{level:g}")


def _held_by_quantiles(forecaster: FittedForecaster, test: Any, places: tuple[int, int]) -> list[float] | None:
    """The share of test values per channel between two quantiles; None if it was not counted."""
    below = test.get("below_quantile", {}).get("per_channel", {})
    names = [f"{forecaster.model.quantiles[place]:g}" for place in places]
    if not set(names) <= set(below):
        return None
    return [upper - lower for lower, upper in zip(*(below[name] for name in names), strict=True)]


def _error_table(errors: dict[str, Any], forecaster: FittedForecaster) -> str:
    scale = forecaster.scaler.scale[forecaster.target_channels]
    entries = zip(errors["columns"], errors["mae_original"], errors["mse_original"], scale, strict=False)
    rows = [[name, f"{mae:.4g}", f"{mse**0.5:.4g}", f"{deviation:.4g}"] for name, mae, mse, deviation in entries]
    return aligned(["column", "mean absolute", "root mean square", "(spread of the column)"], rows)


def _write_csv(path: Path, tables: Iterator[pd.DataFrame], decimals: Mapping[str, int]) -> int:
    num_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for table in tables:
            dates = {
                name: _date_texts(table[name])
                for name in table
                if table[name].dtype.kind == "M" or table[name].dtype.name.startswith("datetime")
            }
            rounded = table.round({name: count for name, count in decimals.items() if abs(count) < MAX_DECIMALS})
            rounded.assign(**dates).to_csv(file, index=False, header=num_rows == 0)
            num_rows += len(table)
    return num_rows


def _date_texts(dates: Any) -> Any:
    """Dates as text with their time zone, if any, and with fractions of seconds where there are some."""
    if dates.dt.tz is None and not (dates.dt.nanosecond != 0).any():
        has_fractions = bool((dates.dt.microsecond != 0).any())
        return dates.dt.strftime(f"{DATE_FORMAT}.%f" if has_fractions else DATE_FORMAT)
    return dates.map(lambda date: date.isoformat(sep=" "))


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    num_rows, first = 0, pa.Table.from_pandas(next(tables), preserve_index=False)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        num_rows += first.num_rows
        for table in tables:
            writer.write_table(pa.Table.from_pandas(table, schema=first.schema, preserve_index=False))
            num_rows += len(table)
    return num_rows
