"""Predict: forecast the rows after the end of a table with the checkpoint of a finished run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from transformers.hf_argparser import HfArg

from data_provider.config import READING_FLAGS
from data_provider.tables.table import Reading
from exp.exp_basic import CheckpointTask
from exp.predict.forecaster import restore_forecaster
from exp.predict.input_table import InputTable, input_table_of_file, panel_of_file
from exp.predict.output import SUFFIXES, decimals_of, held_in_words, uncertainty_note, write_tables
from exp.predict.parts import drawn_together, held_by, parts_of, side_by_side
from utils.files import CannotWrite, is_abandoned, owner_mark
from utils.plotting import plot_forecast

LINES_SHOWN = 24
# Series of a panel in the plot.
MAX_DRAWN = 16
HIDDEN = ".forecast-"


@dataclass(frozen=True)
class PredictConfig:
    """Flags of the checkpoint, the input table and the output files."""

    checkpoint: str = HfArg(help="run folder of a finished training, or a checkpoint file in one")
    data_path: str = HfArg(
        help="table (CSV, Parquet, Feather, .xlsx, also .gz or .zip) whose last rows are the look-back; "
        "columns are matched by name"
    )
    output: str = HfArg(
        help="file for the forecast, .csv or .parquet; a plot (.png) and a note on uncertainty (.txt) of the "
        "same name are written next to it"
    )
    rolling: bool = HfArg(default=False, help="forecast from every window of the file instead of the last one only")
    interval: float | None = HfArg(default=None, help="also write prediction intervals of this level, such as 0.9")
    interval_method: Literal["default", "quantiles", "conformal", "adaptive"] = HfArg(
        default="default",
        help="quantiles: those that the model forecasts (the default if it does); conformal: widths from the "
        "validation errors of training, the same at all times (else the default); adaptive: they follow the errors of "
        "the last windows of the file whose outcome is known",
    )
    date_column: str | None = HfArg(
        default=None, help="column with the dates (default: as in training, or found by name)"
    )
    date_format: str | None = HfArg(
        default=None, help="how dates are written, such as %%d.%%m.%%Y (default: as in training)"
    )
    decimal: str | None = HfArg(default=None, help="decimal mark, . or , (default: as in training)")
    thousands: str | None = HfArg(default=None, help="mark between thousands: . , space none (default: as in training)")
    series_column: str | None = HfArg(default=None, help="long format: which series a row belongs to")
    value_column: str | None = HfArg(default=None, help="long format: the column of values")
    encoding: str | None = HfArg(default=None, help="encoding of a text file (default: as in training)")
    llm_model: str | None = HfArg(default=None, help="the frozen LLM, if it has moved since training")
    llm_tokenizer: str | None = HfArg(default=None, help="the LLM's tokenizer, if it has moved since training")
    tslib_path: str | None = HfArg(
        default=None,
        help="the Time-Series-Library checkout that a model tslib:NAME was trained with (a checkpoint cannot name "
        "it); its files must be those of the training",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = HfArg(
        default="auto", help="auto uses a GPU if there is one, cpu uses none; cuda and mps demand theirs"
    )

    def __post_init__(self) -> None:
        output = Path(self.output)
        if output.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--output must end in .csv or .parquet, got {self.output}")
        written = [output, output.with_suffix(".png"), output.with_suffix(".txt")]
        if output.is_dir() or Path(self.data_path).resolve() in [path.resolve() for path in written]:
            raise ValueError(f"--output {self.output} is a folder or would replace --data_path: choose another name")
        if self.interval is not None and not 0 < self.interval < 1:
            raise ValueError(f"--interval must lie between 0 and 1, such as 0.9, got {self.interval:g}")


class Predict(CheckpointTask):
    """The task `predict`. The constructor checks all input before anything is written."""

    task_configs = (PredictConfig,)
    description = "Forecast what follows the last rows of a file, with the checkpoint of a finished run."

    def __init__(self, config: PredictConfig):
        self.config, self.output = config, Path(config.output)
        moved = {name: getattr(config, name) for name in ("llm_model", "llm_tokenizer", "tslib_path")}
        self.forecaster = restore_forecaster(config.checkpoint, device=config.device, elsewhere=moved)
        intervals = self.forecaster.intervals(config.interval, config.interval_method)
        self.forecaster.check_names(has_interval=config.interval is not None, rolling=config.rolling)
        table = self._read(Path(config.data_path))
        self.long, self.is_adaptive = table.long, intervals.is_adaptive
        self.parts, notes = parts_of(self.forecaster, table, rolling=config.rolling, intervals=intervals)
        self.note = uncertainty_note(
            self.forecaster, level=config.interval, quantiles=intervals.quantiles, remarks=notes
        )

    def run(self) -> dict[str, Any]:
        """Write table, plot and note, all three or none. Returns the number of rows and the first and last date."""
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            prefix = f"{HIDDEN}{owner_mark()}."
            with tempfile.TemporaryDirectory(prefix=prefix, dir=self.output.parent) as folder:
                num_rows = self._write(Path(folder))
        except OSError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
            raise CannotWrite(
                f"--output {self.output} cannot be written ({reason}): make room or choose another place"
            ) from error
        horizons = [part.last.dates[-1] for part in self.parts if part.last is not None]
        first, last = min(dates[0] for dates in horizons), max(dates[-1] for dates in horizons)
        return {"num_rows": num_rows, "first": first, "last": last}

    def _write(self, folder: Path) -> int:
        """Write the three files to `folder`, then move them to their place. Returns the number of rows."""
        table = folder / self.output.name
        decimals = decimals_of(self.forecaster, long=self.long)
        num_rows = write_tables(table, self._tables(), decimals=decimals)
        self._plot(table.with_suffix(".png"))
        table.with_suffix(".txt").write_text(self.note + "\n", encoding="utf-8")
        for path in sorted(folder.iterdir()):
            path.replace(self.output.parent / path.name)
        return num_rows

    def _sweep(self) -> None:
        """Remove the hidden folders of predictions that were killed."""
        for folder in self.output.parent.glob(f"{HIDDEN}*"):
            if is_abandoned(folder, folder.name.removeprefix(HIDDEN).partition(".")[0]) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)

    def closing_text(self, result: dict[str, Any]) -> str:
        """The first lines of the note on uncertainty, and the paths of the three files."""
        lines = self.note.splitlines()
        shown = (
            lines if len(lines) <= LINES_SHOWN else [*lines[:LINES_SHOWN], f"... all of it in {self._beside('.txt')}"]
        )
        span = f"{result['first']} .. {result['last']}"
        rolling = f"windows of the file: {result['num_rows']} rows, the last window " if self.config.rolling else ""
        places = [
            f"forecast  {self.output} ({rolling}{span})",
            f"plot      {self._beside('.png')}",
            f"note      {self._beside('.txt')}",
        ]
        return "\n".join(f"  {line}".rstrip() for line in [*shown, "", *places])

    def _read(self, path: Path) -> InputTable:
        trained, flags = self.forecaster.data, READING_FLAGS
        reading = {name: getattr(self.config, name, None) or getattr(trained, name) for name in flags}
        read = panel_of_file if self.forecaster.series.is_panel else input_table_of_file
        table = read(path, self.forecaster.read_columns, Reading(**{**reading, "columns": None}))
        return self.forecaster.with_known_future(table)

    def _tables(self) -> Iterator[pd.DataFrame]:
        """The forecasts as tables; the note then says how adaptive intervals held."""
        level = self.config.interval
        for part in self.parts:
            yield from part.tables(rolling=self.config.rolling, level=level)
        if self.is_adaptive:
            assert level is not None
            columns, held, num_past = held_by(self.parts)
            where = f"the values of {num_past} past windows of the file, whose errors they followed"
            self.note += "\n" + held_in_words(level, held, columns, where=where)

    def _plot(self, path: Path) -> None:
        forecaster, parts = self.forecaster, drawn_together(self.parts)[:MAX_DRAWN]
        header, seq_len, last = forecaster.header, forecaster.data.seq_len, parts[0].last
        assert last is not None
        first_date: Any = last.dates[-1].tz_localize(None)[0]
        lower, upper = ([part.bounds[end][-1] for part in parts if part.bounds is not None] for end in (0, 1))
        plot_forecast(
            path,
            look_back=side_by_side([part.table.values[-seq_len:, part.forecaster.target_channels] for part in parts]),
            target=None,
            forecast=side_by_side([part.last.values[-1] for part in parts if part.last is not None]),
            columns=[name for part in parts for name in part.forecaster.target_columns],
            interval=(side_by_side(lower), side_by_side(upper)) if lower else None,
            interval_label=f"{self.config.interval:g} interval" if self.config.interval else "",
            first_date=first_date,
            time_step=forecaster.series.time_step,
            title=f"{header['model']} trained on {forecaster.series.name}: after {last.made_at[-1]}",
            label=", ".join(header.get("labels", [])) or None,
        )

    def _beside(self, suffix: str) -> Path:
        return self.output.with_suffix(suffix)
