"""A table that has been read once and found fit for training: values, dates, borders, scaler."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data_provider.config import DataConfig
from data_provider.datasets import CUSTOM, DATASETS, M4, Benchmark
from data_provider.dates import gaps, infer_time_step, season_of_step
from data_provider.scaling import Standardizer
from data_provider.series_info import WindowSource
from data_provider.splits import Borders, Split, borders_by_fraction, parse_split, rows_of_split
from data_provider.table import Table, read_table, sha256_of
from data_provider.time_features import time_features
from data_provider.windows import Windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Series(WindowSource):
    """A multivariate series: `values` in original units, float64 [time, channel], and where its splits end.

    `notes` are sentences about the file for the log.
    """

    dates: pd.DatetimeIndex
    values: np.ndarray
    borders: Borders
    notes: list[str] = field(default_factory=list)

    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        needs_time_features: bool = False,
        device: torch.device | str = "cpu",
    ) -> Windows:
        """The windows of a split in scaled units; single channels are evaluated on the target channels only."""
        rows = rows_of_split(
            self.borders, split, seq_len=config.seq_len, pred_len=config.pred_len, percent=config.percent
        )
        dates = self.dates[rows.start : rows.stop]
        return Windows(
            self.scaler.transform(self.values[rows.start : rows.stop]),
            seq_len=config.seq_len,
            pred_len=config.pred_len,
            channel_independent=channel_independent,
            target_channels=self.target_channels,
            row_channels=None if split == "train" else self.target_channels,
            dates=dates,
            time_features=time_features(dates, self.time_step) if needs_time_features else None,
            device=device,
        )


def load_series(config: DataConfig) -> Series:
    """The series that `config` names, read and validated; its notes are logged.

    Raises FileNotFoundError for a missing file and ValueError for one that does not fit, in one line that names the
    file, the rule, what was found and the way out.
    """
    if config.data == M4:
        raise ValueError(f"--data {M4} is a set of many short series: forecast it with --task_name short_term_forecast")
    path = file_of(config)
    if config.data == CUSTOM:
        wanted = [name.strip() for name in config.columns.split(",")] if config.columns else None
        table = read_table(path, date_column=config.date_column, columns=wanted)
        fingerprint = sha256_of(path)
        check_table(table)
        if len(table.dates) < 3:
            raise ValueError(f"{path} has too few rows: {len(table.dates)}, and at least 3 are needed to tell its step")
        time_step = infer_time_step(table.dates)
        series = _series(config, table, parse_split(config.split, table.dates), time_step=time_step)
        series = replace(series, fingerprint=fingerprint, notes=[_shape_note(series), *table.notes, *_gap_note(series)])
    else:
        series = _load_benchmark(config, DATASETS[config.data], path)
    for note in series.notes:
        logger.info("%s: %s", path, note)
    return series


def file_of(config: DataConfig) -> Path:
    """The file that `config` reads: --data_path as it stands or under --root_path, else the registry's file."""
    root = Path(config.root_path)
    if config.data_path is not None:
        candidates = [Path(config.data_path), root / config.data_path]
    else:
        candidates = [root / DATASETS[config.data].file]
    for path in candidates:
        if path.is_file():
            return path
    if config.data == CUSTOM:
        raise FileNotFoundError(f"--data_path {config.data_path} is missing (also under --root_path {root})")
    way_out = (
        "python -m data_provider.demo" if config.data == "demo" else f"python -m data_provider.download {config.data}"
    )
    raise FileNotFoundError(
        f"{candidates[-1]} is missing: run `{way_out}`, or point --root_path at the folder that holds "
        f"{DATASETS[config.data].file} (dataset/README.md)"
    )


def _load_benchmark(config: DataConfig, benchmark: Benchmark, path: Path) -> Series:
    fingerprint = sha256_of(path)
    table = read_table(path, date_column="date")
    check_shape(table, benchmark, name=config.data)
    notes = list(table.notes)
    if fingerprint == benchmark.sha256:
        notes += [f"the published file, used as it is: {benchmark.remark}"] if benchmark.remark else []
    else:
        check_table(table)
        if benchmark.sha256 is not None:
            notes.append(f"not the published file (SHA-256 {fingerprint[:12]}...), but of its shape and in order")
    if benchmark.is_demo:
        notes.append("demo data: synthetic, made by data_provider/demo.py")
    borders = Borders(*benchmark.borders) if benchmark.borders else borders_by_fraction(len(table.dates))
    series = _series(config, table, borders, time_step=benchmark.time_step)
    return replace(
        series,
        season_length=benchmark.season_length,
        fingerprint=fingerprint,
        notes=notes,
        is_demo=benchmark.is_demo,
    )


def check_shape(table: Table, benchmark: Benchmark, *, name: str) -> None:
    """ValueError with what was expected and what was found, where a file cannot be the data set of that name."""
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
    """ValueError for missing cells and for dates out of order or repeated: none of them is repaired silently."""
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


def _series(config: DataConfig, table: Table, borders: Borders, *, time_step: str) -> Series:
    """The series of `table` with the channels that --features and --target ask for."""
    columns, values = table.columns, table.values
    target_channels = list(range(len(columns)))
    if config.features != "M":
        if config.target not in columns:
            raise ValueError(
                f"--target {config.target} is not a column of {table.path}: --features {config.features} needs one of "
                f"{', '.join(columns[:12])}"
            )
        target = columns.index(config.target)
        if config.features == "S":
            columns, values, target_channels = [config.target], values[:, [target]], [0]
        else:
            target_channels = [target]
    if borders.train < 2:
        raise ValueError(f"{table.path} has too few rows: {len(values)} rows leave {borders.train} for training")
    return Series(
        name=config.data if config.data != CUSTOM else table.path.stem,
        columns=columns,
        dates=table.dates,
        values=values,
        borders=borders,
        scaler=Standardizer.fit(values[: borders.train]),
        target_channels=target_channels,
        time_step=time_step,
        season_length=season_of_step(time_step),
        fingerprint="",
    )


def _shape_note(series: Series) -> str:
    names = ", ".join(series.columns[:8]) + (", ..." if series.num_channels > 8 else "")
    borders = series.borders
    return (
        f"{len(series.values)} rows x {series.num_channels} channels ({names}), step {series.time_step}, "
        f"{series.dates[0]} .. {series.dates[-1]}; training ends at row {borders.train}, validation at "
        f"{borders.validation}, test at {borders.test}"
    )


def _gap_note(series: Series) -> list[str]:
    found = gaps(series.dates, series.time_step)
    if not found:
        return []
    first = f"{found[0][0]} .. {found[0][1]}"
    return [f"{len(found)} gap(s) in the dates, the first {first}: windows run across them as if there were none"]
