"""Forecasts written as they come, so that a rolling forecast of a long file is never held as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

SUFFIXES = (".csv", ".parquet")
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
# Forecasts are computed in float32: what follows the tenth digit is noise.
FLOAT_FORMAT = "%.10g"


def write_tables(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    """Writes one table in parts, as CSV or Parquet by its suffix; returns the number of rows."""
    return _write_parquet(path, tables) if path.suffix.lower() == ".parquet" else _write_csv(path, tables)


def _write_csv(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    num_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for table in tables:
            table.to_csv(
                file, index=False, header=num_rows == 0, date_format=_date_format(table), float_format=FLOAT_FORMAT
            )
            num_rows += len(table)
    return num_rows


def _date_format(table: pd.DataFrame) -> str:
    has_fractions = bool((table["date"].dt.microsecond != 0).any())
    return f"{DATE_FORMAT}.%f" if has_fractions else DATE_FORMAT


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    num_rows, first = 0, pa.Table.from_pandas(next(tables), preserve_index=False)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        num_rows += first.num_rows
        for table in tables:
            writer.write_table(pa.Table.from_pandas(table, schema=first.schema, preserve_index=False))
            num_rows += len(table)
    return num_rows
