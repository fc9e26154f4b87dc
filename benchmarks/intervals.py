"""Intervals held on the last tenth of a file: `python -m benchmarks.intervals --checkpoint RUN --data_path FILE`.

Every window whose horizon lies in the last tenth of the rows is forecast. `conformal` intervals have the widths of the
run's validation split; `adaptive` ones follow the errors of the windows before, of which each forecast uses only those
whose outcome is known when it is made.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from benchmarks.measuring.machine import describe
from data_provider.tables.own_table import reading_of
from exp.predict.adaptive import MAX_PAST, adaptive_forecast
from exp.predict.forecaster import FittedForecaster, load_forecaster
from exp.predict.input_table import InputTable, input_table_of_file

SHARE = 0.1


def held(
    forecaster: FittedForecaster, table: InputTable, *, level: float, first: int
) -> dict[str, Float[ndarray, "channel"]]:
    """Method -> the share of values inside, per channel, over the windows with horizons from row `first` on."""
    seq_len, pred_len = forecaster.data.seq_len, forecaster.data.pred_len
    begin = max(0, first - seq_len - pred_len - MAX_PAST)
    read = replace(table, dates=table.dates[begin:], values=table.values[begin:])
    start = forecaster.half_width(level)
    found = adaptive_forecast(forecaster, read, start, level=level, rolling=True)
    values, widths = found.forecasts.values, found.half_widths
    targets = read.values[:, forecaster.target_channels]
    numbers = np.arange(first - begin - seq_len, len(values) - pred_len)
    known = targets[(numbers[:, None] + seq_len) + np.arange(pred_len)]
    errors = np.abs(values[numbers] - known)
    return {
        "conformal": (errors <= start).mean(axis=(0, 1)),
        "adaptive": (errors <= widths[numbers]).mean(axis=(0, 1)),
    }


def table_of(forecaster: FittedForecaster, table: InputTable, levels: list[float]) -> list[str]:
    """Lines of a Markdown table: a row for each method and level."""
    first = len(table.dates) - int(SHARE * len(table.dates))
    lines = ["| intervals | level | held | worst channel |", "|---|---:|---:|---|"]
    for level in levels:
        for method, shares in held(forecaster, table, level=level, first=first).items():
            worst = int(shares.argmin())
            name = forecaster.target_columns[worst]
            lines.append(f"| {method} | {level:g} | {shares.mean():.3f} | {name} {shares[worst]:.3f} |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Print the table for a run and a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="run folder of a finished training")
    parser.add_argument("--data_path", type=Path, required=True, help="table whose last tenth is forecast")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.8, 0.9])
    asked = parser.parse_args(arguments)
    forecaster = load_forecaster(asked.checkpoint)
    table = input_table_of_file(asked.data_path, forecaster.columns, replace(reading_of(forecaster.data), columns=None))
    for line in table_of(forecaster, table, asked.levels):
        print(line)
    print(f"{forecaster.header['run_id']}, {describe(forecaster.device)}")


if __name__ == "__main__":
    main()
