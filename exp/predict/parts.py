"""Parts of a forecast: the whole table, or each series of a panel by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from exp.predict.adaptive import AdaptiveForecast, WindowForecasts, adaptive_forecast
from exp.predict.bounds import Bounds, IntervalsOfForecasts, around
from exp.predict.input_table import InputTable, series_of

if TYPE_CHECKING:
    from exp.predict.forecaster import FittedForecaster

FEW = 8


@dataclass(eq=False)
class Part:
    """A table that is forecast at once, with the forecaster of its columns and how their intervals are made.

    `last` are the last windows that `tables` has forecast, with their `bounds`, and `adaptive` how intervals held.
    """

    forecaster: FittedForecaster
    table: InputTable
    intervals: IntervalsOfForecasts
    last: WindowForecasts | None = None
    bounds: Bounds | None = None
    adaptive: AdaptiveForecast | None = None

    def tables(self, *, rolling: bool, level: float | None) -> Iterator[pd.DataFrame]:
        """The forecasts of the part as tables, a few windows at a time."""
        forecaster, long = self.forecaster, self.table.long
        if self.intervals.is_adaptive:
            start = self.intervals.half_width
            assert level is not None and start is not None
            found = adaptive_forecast(forecaster, self.table, start, level=level, rolling=rolling)
            self.adaptive, self.last = found, found.forecasts
            self.bounds = around(found.forecasts, found.half_widths)
            yield forecaster.table(found.forecasts, self.bounds, rolling=rolling, long=long)
            return
        for windows in forecaster.forecasts(self.table):
            self.last, self.bounds = windows, self.intervals(windows)
            yield forecaster.table(windows, self.bounds, rolling=rolling, long=long)


def parts_of(
    forecaster: FittedForecaster,
    table: InputTable,
    *,
    rolling: bool,
    intervals: IntervalsOfForecasts,
) -> tuple[list[Part], list[str]]:
    """The parts of a forecast of `table`, and remarks on it. Raises ValueError for a table that cannot be read.

    Series that a panel lacks, or that are shorter than the look-back, have no part and are named.
    """
    if not forecaster.series.is_panel:
        checked = forecaster.checked(table, rolling=rolling, with_past=intervals.is_adaptive)
        return [Part(forecaster, checked, intervals)], checked.notes
    parts, short, notes = [], [], list(table.notes)
    for channel, name in enumerate(forecaster.columns):
        alone = series_of(table, channel, name)
        if len(alone.dates) < forecaster.data.seq_len:
            short.append(f"{name} ({len(alone.dates)})")
            continue
        one = forecaster.of_series(name)
        checked = one.checked(alone, rolling=rolling, with_past=intervals.is_adaptive)
        notes += [f"series {name}: {note}" for note in checked.notes]
        half_width = None if intervals.half_width is None else intervals.half_width[:, [channel]]
        parts.append(Part(one, replace(checked, notes=[]), replace(intervals, half_width=half_width)))
    if not parts:
        raise ValueError(
            f"{table.source} has no series with the --seq_len {forecaster.data.seq_len} rows that a forecast of this "
            f"run reads: {', '.join(short[:FEW])}"
        )
    if short:
        more = f" and {len(short) - FEW} more" if len(short) > FEW else ""
        notes.append(
            f"{len(short)} series of the run have fewer than the {forecaster.data.seq_len} rows that a forecast reads, "
            f"and get none (rows): {', '.join(short[:FEW])}{more}"
        )
    return parts, notes


def held_by(parts: list[Part]) -> tuple[list[str], list[float], int]:
    """The columns of all parts, the share of past values that adaptive intervals held, and the number of windows."""
    columns, held, counts = [], [], []
    for part in parts:
        assert part.adaptive is not None
        columns += part.forecaster.target_columns
        held += part.adaptive.held.tolist()
        counts.append(part.adaptive.num_past)
    return columns, held, max(counts)


def drawn_together(parts: list[Part]) -> list[Part]:
    """The parts whose last forecasts begin at the date at which the most do."""
    starts = [str(part.last.dates[-1][0]) for part in parts if part.last is not None]
    most = max(dict.fromkeys(starts), key=starts.count)
    return [part for part, start in zip(parts, starts, strict=True) if start == most]


def side_by_side(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays [time, channel] as one."""
    return np.concatenate(arrays, axis=-1)
