"""Output of a prediction: the table of forecasts, and the note on their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from exp.predict.forecaster import FittedForecaster
from utils.terminal import aligned

SUFFIXES = (".csv", ".parquet")
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
# Forecasts are computed in float32: digits after the tenth are noise.
FLOAT_FORMAT = "%.10g"


def write_tables(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    """Write `tables` one below the other, as CSV or Parquet by the suffix of `path`. Returns the number of rows.

    Tables are written one by one, so that a long rolling forecast need not fit into memory.
    """
    return _write_parquet(path, tables) if path.suffix.lower() == ".parquet" else _write_csv(path, tables)


def uncertainty_note(forecaster: FittedForecaster, *, level: float | None, remarks: Sequence[str]) -> str:
    """Text on the expected error: test errors per column in original units, interval coverage, and `remarks`."""
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
    covered = test.get("coverage", {}).get(f"{level:g}") if level is not None else None
    if isinstance(covered, float):
        lines.append(f"Intervals of level {level:g} held {100 * covered:.1f} % of the test values.")
    return "\n".join(lines)


def _error_table(errors: dict[str, Any], forecaster: FittedForecaster) -> str:
    scale = forecaster.scaler.scale[forecaster.target_channels]
    entries = zip(errors["columns"], errors["mae_original"], errors["mse_original"], scale, strict=False)
    rows = [[name, f"{mae:.4g}", f"{mse**0.5:.4g}", f"{deviation:.4g}"] for name, mae, mse, deviation in entries]
    return aligned(["column", "mean absolute", "root mean square", "(spread of the column)"], rows)


def _write_csv(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    num_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for table in tables:
            has_fractions = bool((table["date"].dt.microsecond != 0).any())
            date_format = f"{DATE_FORMAT}.%f" if has_fractions else DATE_FORMAT
            table.to_csv(file, index=False, header=num_rows == 0, date_format=date_format, float_format=FLOAT_FORMAT)
            num_rows += len(table)
    return num_rows


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    num_rows, first = 0, pa.Table.from_pandas(next(tables), preserve_index=False)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        num_rows += first.num_rows
        for table in tables:
            writer.write_table(pa.Table.from_pandas(table, schema=first.schema, preserve_index=False))
            num_rows += len(table)
    return num_rows
