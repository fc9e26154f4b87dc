"""A trained model with its scaler, columns and prediction intervals, ready to forecast a user's table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from data_provider.batches.loader import Loader
from data_provider.batches.memory_budget import MemoryBudget
from data_provider.config import READING_FLAGS, DataConfig
from data_provider.scaling import Standardizer
from data_provider.series import SeriesInfo
from data_provider.tables.long_format import LongNames
from data_provider.tables.table import Reading
from data_provider.time_features import time_features
from data_provider.windows import Windows
from exp.predict.adaptive import WindowForecasts, rows_with_past
from exp.predict.bounds import Bounds, IntervalsOfForecasts, quantiles_of_level
from exp.predict.input_table import InputTable, check_input_table, input_table_of_frame, last_rows
from exp.predict.known_future import with_known_future
from exp.predict.parts import parts_of
from exp.predict.restored_model import checkpoint_file, restore_model
from exp.training.runtime import DEVICES, chosen_device, dtype_of
from models.base import Forecaster
from utils.flags.parsing import recorded_flags
from utils.intervals.conformal import Intervals
from utils.python_errors import DATA_FRAME, python_errors
from utils.run_folder import RunFolder
from utils.schemas.metrics import Metrics
from utils.terminal import progress_bar
from utils.time_steps import dates_after, pandas_step

logger = logging.getLogger(__name__)
ROWS_PER_BATCH = 256
INTERVAL_METHODS = ("default", "quantiles", "conformal", "adaptive")


class FittedForecaster:
    """The trained model of a run folder, which forecasts tables in original units."""

    def __init__(self, checkpoint: Path, header: dict[str, Any], model: Forecaster, device: torch.device):
        self.checkpoint, self.header, self.device = checkpoint, header, device
        self.model, self.dtype = model.to(device).eval(), dtype_of(header["precision"], on_cpu=device.type == "cpu")
        self.data = replace(recorded_flags(DataConfig, header["data_config"], source=checkpoint), percent=100)
        self.series = SeriesInfo.from_record(header["series"])
        self.scaler, self.columns = self.series.scaler, self.series.columns
        self.target_channels = self.series.target_channels

    @property
    def target_columns(self) -> list[str]:
        """The columns that are forecast; with `--features MS` only the target."""
        return self.series.target_columns

    @property
    def read_columns(self) -> list[str]:
        """The columns that are read of a table: the channels, and those whose future is known."""
        return [*self.columns, *(self.series.known_future.columns if self.series.known_future else [])]

    def with_known_future(self, table: InputTable) -> InputTable:
        """A table with the `read_columns` as it is forecast. Raises ValueError if it lacks the known future."""
        known = self.series.known_future
        if known is None:
            return table
        sizes = {"num_channels": len(self.columns), "pred_len": self.data.pred_len}
        return with_known_future(table, known.columns, **sizes, time_step=self.series.time_step)

    @property
    def folder(self) -> RunFolder:
        """The run folder of the checkpoint."""
        return RunFolder(self.checkpoint.parent.parent)

    @property
    def metrics(self) -> Metrics:
        """The test errors of the run, and all else that its metrics.json says."""
        return self.folder.read_metrics()

    def predict(
        self,
        frame: pd.DataFrame,
        *,
        interval: float | None = None,
        rolling: bool = False,
        interval_method: str = "default",
        date_column: str | None = None,
    ) -> pd.DataFrame:
        """Forecast the `pred_len` rows after the last `seq_len` rows of `frame`, in original units.

        Columns are matched by name; dates are a column or the index; those of the forecast are in their time zone.
        `interval` (such as 0.9) adds `<column>_lower` and `<column>_upper`. `rolling` forecasts from every window of
        `frame` and adds `made_at`, the last date of each look-back. `interval_method` is that of the command.
        `date_column` is, by default, that of training or found by name. Raises ValueError for an invalid frame.
        """
        with python_errors(frame=DATA_FRAME):
            table = input_table_of_frame(
                frame,
                self.read_columns,
                date_column=date_column or self.data.date_column,
                reading=Reading(**{name: getattr(self.data, name) for name in (*READING_FLAGS[2:],)}),
                is_panel=self.series.is_panel,
            )
            table = self.with_known_future(table)
            intervals = self.intervals(interval, interval_method)
            self.check_names(has_interval=interval is not None, rolling=rolling)
            parts, _ = parts_of(self, table, rolling=rolling, intervals=intervals)
            tables = [found for part in parts for found in part.tables(rolling=rolling, level=interval)]
            return pd.concat(tables, ignore_index=True)

    def intervals(self, level: float | None, method: str = "default") -> IntervalsOfForecasts:
        """How the interval of `level` is made by `method` of `--interval_method`. Raises ValueError.

        By default from the model's quantiles, and from validation errors if it forecasts none.
        """
        if method not in INTERVAL_METHODS:
            raise ValueError(f"--interval_method must be {' or '.join(INTERVAL_METHODS)}, got {method}")
        if level is None:
            return IntervalsOfForecasts()
        if method == "quantiles" or (method == "default" and self.model.quantiles):
            return IntervalsOfForecasts(quantiles=quantiles_of_level(self.model.quantiles, level))
        return IntervalsOfForecasts(half_width=self.half_width(level), is_adaptive=method == "adaptive")

    def of_series(self, name: str) -> FittedForecaster:
        """The same model for one series of a panel."""
        channel, alone = self.columns.index(name), copy(self)
        scaler = Standardizer(self.scaler.mean[[channel]], self.scaler.scale[[channel]])
        alone.series = replace(self.series, columns=[name], target_channels=[0], scaler=scaler, is_panel=False)
        alone.scaler, alone.columns, alone.target_channels = scaler, [name], [0]
        return alone

    def checked(self, input_table: InputTable, *, rolling: bool, with_past: bool = False) -> InputTable:
        """The last `seq_len` rows (all if rolling) after validation, which logs notes and raises ValueError.

        `with_past` adds the rows of the windows that adaptive intervals learn from.
        """
        read = last_rows(input_table, self.data.seq_len)
        if with_past:
            read = rows_with_past(input_table, seq_len=self.data.seq_len, pred_len=self.data.pred_len)
        read = input_table if rolling else read
        notes = [*read.notes, *check_input_table(read, self.columns, time_step=self.series.time_step)]
        for note in notes:
            logger.info("%s: %s", read.source, note)
        return replace(read, notes=notes)

    def check_names(self, *, has_interval: bool, rolling: bool) -> None:
        """Check that the columns of the forecast have distinct names. Raises ValueError."""
        if self.series.is_panel:
            return
        names = ["date", *self.target_columns, *(["made_at"] if rolling else [])]
        if has_interval:
            names += [f"{name}_{bound}" for name in self.target_columns for bound in ("lower", "upper")]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the forecast would have two columns called {twice[0]}: train with it renamed")

    def half_width(self, level: float) -> Float[ndarray, "pred_len channel"]:
        """Half width of the prediction interval of `level`, in original units."""
        if not 0 < level < 1:
            raise ValueError(f"--interval must lie between 0 and 1, such as 0.9, got {level:g}")
        path = self.checkpoint.with_name(self.folder.intervals.name)
        bounds = Intervals.load(path, run_id=self.header.get("run_id")).at(level)
        expected = (len(self.target_channels), self.data.pred_len)
        if bounds.shape != expected:
            raise ValueError(f"{path} has half widths {list(bounds.shape)}, not {list(expected)}: it is not used")
        return bounds.double().numpy().T * self.scaler.scale[self.target_channels]

    def forecasts(self, input_table: InputTable) -> Iterator[WindowForecasts]:
        """Forecasts of every window of `input_table`, a few at a time, oldest first."""
        loader = self._loader(input_table)
        windows = loader.windows
        rows_per_window = len(windows) // windows.num_windows
        at_once = max(1, ROWS_PER_BATCH // rows_per_window)
        mean, scale = self.scaler.mean[self.target_channels], self.scaler.scale[self.target_channels]
        given = input_table.zone.restored if input_table.zone else pd.DatetimeIndex
        steps = range(0, windows.num_windows, at_once)
        for first in progress_bar(steps, total=len(steps), label="forecast", shown=len(steps) > 1):
            numbers = range(first, min(first + at_once, windows.num_windows))
            rows = windows.rows_of_windows(numbers)
            values = torch.cat([self._forward(loader, part) for part in rows.split(ROWS_PER_BATCH)])
            if self.model.channel_independent:
                values = values.reshape(len(numbers), rows_per_window, *values.shape[1:2], -1).transpose(1, 2)
            # The forecast itself comes first, then its quantiles.
            with np.errstate(over="ignore", invalid="ignore"):
                original = values.cpu().double().numpy() * scale[:, None] + mean[:, None]
            if not np.isfinite(original).all():
                raise ValueError("the forecast is not finite in the units of the table: the run scaled by too much")
            yield WindowForecasts(
                given(input_table.dates[[number + self.data.seq_len - 1 for number in numbers]]),
                [given(windows.target_dates(number)) for number in numbers],
                original[..., 0],
                original[..., 1:] if self.model.quantiles else None,
            )

    def table(
        self,
        part: WindowForecasts,
        bounds: Bounds | None,
        *,
        rolling: bool,
        long: LongNames | None = None,
    ) -> pd.DataFrame:
        """Forecasts as a table: `date` and the target columns, and first `made_at` if rolling; or in long format."""
        table: dict[str, Any] = {}
        if rolling:
            table["made_at"] = part.made_at.repeat(self.data.pred_len)
        table["date"] = part.dates[0].append(part.dates[1:])
        for position, name in enumerate(self.target_columns):
            values = part.values[:, :, position]
            table[name] = values.ravel()
            if bounds is not None:
                table[f"{name}_lower"], table[f"{name}_upper"] = (bound[:, :, position].ravel() for bound in bounds)
        wide = pd.DataFrame(table)
        return wide if long is None else long.melted(wide, self.target_columns, bounds=bounds is not None)

    @torch.no_grad()
    def _forward(self, loader: Loader, rows: Tensor) -> Float[Tensor, "row pred_len channel known"]:
        """The forecasts and, behind them along the last axis, their quantiles. Raises ValueError if not finite."""
        batch = loader.batch(rows)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            forecast = self.model(batch.look_back, **batch.inputs)
        values, quantiles = forecast.on_targets(loader.windows.keep_targets)
        made = torch.cat([values[..., None], *([] if quantiles is None else [quantiles])], dim=-1)
        if not bool(torch.isfinite(made).all()):
            raise ValueError("the forecast is not finite: do these values have the units of those trained on?")
        return made

    def _loader(self, input_table: InputTable) -> Loader:
        """Loader over the table, extended by NaN rows for the last horizon, with windows and scaling as in training."""
        time_step, pred_len, known = self.series.time_step, self.data.pred_len, self.series.known_future
        last_date: Any = input_table.dates[-1]
        dates = pd.DatetimeIndex(input_table.dates.append(dates_after(last_date, time_step, pred_len)))
        unknown = np.full((pred_len, self.series.num_channels), np.nan)
        original = np.concatenate([input_table.values, unknown])
        windows = Windows(
            self.scaler.transform(original),
            seq_len=self.data.seq_len,
            pred_len=pred_len,
            channel_independent=self.model.channel_independent,
            target_channels=self.target_channels,
            row_channels=self.target_channels,
            dates=dates,
            time_features=time_features(dates, self.model.time_feature_step(pandas_step(time_step)))
            if self.model.needs_time_features
            else None,
            known_future=known.scaler.transform(input_table.known[-len(dates) :]) if known else None,
            original=original,
            device=self.device,
        )
        return Loader(
            windows,
            batch_size=ROWS_PER_BATCH,
            shuffle=False,
            prompt_inputs=self.model.prompt_inputs if self.model.has_prompt_inputs else None,
            prompts_read_original=self.model.prompts_read_original,
            memory=MemoryBudget(0),
        )


def load_forecaster(
    run: str | Path,
    *,
    device: str = "auto",
    llm_model: str | None = None,
    llm_tokenizer: str | None = None,
    tslib_path: str | None = None,
) -> FittedForecaster:
    """Load the forecaster of a run folder, or of a checkpoint file in one, for a call from Python.

    The frozen LLM is loaded by its name in training, or from `llm_model` and `llm_tokenizer` if it has moved, and must
    have the same weights. A model of Time-Series-Library needs `tslib_path`, with the same files as in training. Raises
    FileNotFoundError or ValueError.
    """
    with python_errors({"checkpoint": "run"}):
        elsewhere = {"llm_model": llm_model, "llm_tokenizer": llm_tokenizer, "tslib_path": tslib_path}
        return restore_forecaster(run, device=device, elsewhere=elsewhere)


def restore_forecaster(run: str | Path, *, device: str, elsewhere: Mapping[str, str | None]) -> FittedForecaster:
    """`load_forecaster` for commands, whose errors name flags; `elsewhere` maps `llm_model` and so on to a path."""
    if device not in DEVICES:
        raise ValueError(f"--device must be one of {', '.join(DEVICES)}, got {device}")
    path = checkpoint_file(Path(run))
    place = torch.device(chosen_device(device))
    model, header = restore_model(path, device=place, elsewhere=elsewhere)
    return FittedForecaster(path, header, model, place)
