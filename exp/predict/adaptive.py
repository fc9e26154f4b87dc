"""Forecasts of windows, and adaptive intervals learnt from the windows of a table whose outcome is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from exp.predict.input_table import InputTable
from utils.intervals.adaptive import track, widths_in_time

# The most and the fewest windows of known outcome that intervals learn from.
MAX_PAST, MIN_PAST = 1000, 100


@dataclass(frozen=True, eq=False)
class WindowForecasts:
    """Forecasts of some windows in original units; `made_at` is the last date of a look-back, `dates` its horizon.

    `quantiles` are those of the model, if it forecasts some.
    Dates are in the time zone of the table that was read, if it has one.
    """

    made_at: pd.DatetimeIndex
    dates: list[pd.DatetimeIndex]
    values: Float[ndarray, "window pred_len channel"]
    quantiles: Float[ndarray, "window pred_len channel level"] | None = None


@runtime_checkable
class WindowForecaster(Protocol):
    """What forecasts windows: a fitted forecaster."""

    target_channels: list[int]

    def forecasts(self, input_table: InputTable) -> Iterator[WindowForecasts]:
        """Forecasts of every window of `input_table`, a few at a time, oldest first."""
        ...


@dataclass(frozen=True, eq=False)
class AdaptiveForecast:
    """Forecasts with a half width each, and the share of known values that were inside, per channel."""

    forecasts: WindowForecasts
    half_widths: Float[ndarray, "window pred_len channel"]
    held: Float[ndarray, "channel"]
    num_past: int


def rows_with_past(table: InputTable, *, seq_len: int, pred_len: int) -> InputTable:
    """The last look-back and the rows of the windows before it. Raises ValueError if there are too few."""
    needed = seq_len + pred_len + MIN_PAST - 1
    if len(table.dates) < needed:
        raise ValueError(
            f"{table.source} has {len(table.dates)} rows, but --interval_method adaptive learns from at least "
            f"{MIN_PAST} windows whose outcome is known, {needed} rows: give more rows, or choose --interval_method "
            "conformal"
        )
    num_rows = seq_len + pred_len + MAX_PAST - 1
    return replace(table, dates=table.dates[-num_rows:], values=table.values[-num_rows:])


def adaptive_forecast(
    forecaster: WindowForecaster,
    table: InputTable,
    start: Float[ndarray, "pred_len channel"],
    *,
    level: float,
    rolling: bool,
) -> AdaptiveForecast:
    """Forecast every window of `table`, or keep the last one only, with half widths that begin at `start`.

    The half widths of a window depend on values up to its own look-back's end alone.
    """
    parts = list(forecaster.forecasts(table))
    values = np.concatenate([part.values for part in parts])
    num_windows, pred_len, _ = values.shape
    known = np.full((len(table.values) + pred_len, len(forecaster.target_channels)), np.nan)
    known[: len(table.values)] = table.values[:, forecaster.target_channels]
    first = len(table.values) - num_windows + 1
    targets = known[first + np.arange(num_windows)[:, None] + np.arange(pred_len)]
    errors = np.abs(values - targets)
    widths = widths_in_time(track(errors, start, level=level))[:-1]
    is_known = ~np.isnan(errors)
    held = ((errors <= widths) & is_known).sum((0, 1)) / is_known.sum((0, 1))
    kept = slice(0 if rolling else num_windows - 1, None)
    dates = [horizon for part in parts for horizon in part.dates]
    made_at = parts[0].made_at.append([part.made_at for part in parts[1:]])
    forecasts = WindowForecasts(pd.DatetimeIndex(made_at)[kept], dates[kept], values[kept])
    return AdaptiveForecast(forecasts, widths[kept], held, int(is_known[:, 0, 0].sum()))
