"""Validated data sets: values, dates, split borders and scaler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from data_provider.config import DataConfig
from data_provider.datasets import CUSTOM, DATASETS, Benchmark
from data_provider.known_future import KnownFuture
from data_provider.scaling import Standardizer
from data_provider.splits import Borders, Split, borders_by_fraction, rows_of_split
from data_provider.windows import Windows

# Columns that the description of a table of one's own names.
NUM_DESCRIBED = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesInfo:
    """A data set without its values.

    `target_channels` are the channels that are evaluated, `time_step` is a pandas offset string, `season_length` the
    strongest natural cycle in time steps, `fingerprint` the SHA-256 of the file, `description` a sentence for prompts.
    `known_future` are columns beside the channels. The columns of a panel are series with dates of their own, which a
    model reads one at a time.
    """

    name: str
    columns: list[str]
    target_channels: list[int]
    time_step: str
    season_length: int
    scaler: Standardizer
    fingerprint: str
    is_demo: bool = False
    description: str = ""
    is_panel: bool = False
    known_future: KnownFuture | None = None

    @property
    def num_channels(self) -> int:
        """Number of channels that a model reads at once."""
        return 1 if self.is_panel else len(self.columns)

    @property
    def target_columns(self) -> list[str]:
        """Names of the evaluated channels."""
        return [self.columns[channel] for channel in self.target_channels]

    def to_record(self) -> dict[str, Any]:
        """JSON values for config.json and checkpoints."""
        names = ("name", "columns", "target_channels", "time_step", "season_length", "fingerprint", "description")
        more: dict[str, Any] = {"is_panel": True} if self.is_panel else {}
        if self.known_future is not None:
            more["known_future"] = self.known_future.to_record()
        return {**{name: getattr(self, name) for name in names}, **more, "scaler": self.scaler.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`."""
        known = record.get("known_future")
        made = {"known_future": KnownFuture.from_record(known)} if known else {}
        return cls(**{**record, "scaler": Standardizer.from_dict(record["scaler"]), **made})


class WindowSource(SeriesInfo, ABC):
    """A data set that provides the windows of each split."""

    @abstractmethod
    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        needs_time_features: bool = False,
        time_feature_step: str | None = None,
        device: torch.device | str = "cpu",
    ) -> Windows:
        """The windows of a split in scaled units. Raises ValueError if it is too short for one.

        Calendar features are those of `time_feature_step` (default: the series' own step).
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class Series(WindowSource):
    """A multivariate series: `values` float64 [time, channel] in original units, with the borders of its splits.

    `known_values` [time, column] are those of `known_future`, `notes` remarks on the file, for the log.
    """

    dates: pd.DatetimeIndex
    values: np.ndarray
    borders: Borders
    known_values: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        needs_time_features: bool = False,
        time_feature_step: str | None = None,
        device: torch.device | str = "cpu",
    ) -> Windows:
        """The windows of a split in scaled units; validation and test have only the rows of the target channels."""
        rows = rows_of_split(
            self.borders, split, seq_len=config.seq_len, pred_len=config.pred_len, percent=config.percent
        )
        dates = self.dates[rows.start : rows.stop]
        features = None
        if needs_time_features:
            from data_provider.time_features import time_features

            features = time_features(dates, time_feature_step or self.time_step)
        return Windows(
            self.scaler.transform(self.values[rows.start : rows.stop]),
            seq_len=config.seq_len,
            pred_len=config.pred_len,
            channel_independent=channel_independent,
            target_channels=self.target_channels,
            row_channels=None if split == "train" else self.target_channels,
            dates=dates,
            time_features=features,
            known_future=self._scaled_known(rows),
            original=self.values[rows.start : rows.stop],
            device=device,
        )

    def with_known_future(self, columns: Sequence[str], values: np.ndarray) -> Series:
        """The same series with columns `values` [time, column] whose future is known."""
        known = KnownFuture(list(columns), Standardizer.fit(values[: self.borders.train]))
        return replace(self, known_future=known, known_values=values)

    def _scaled_known(self, rows: range) -> np.ndarray | None:
        if self.known_future is None or self.known_values is None:
            return None
        return self.known_future.scaler.transform(self.known_values[rows.start : rows.stop])


def benchmark_series(
    config: DataConfig, path: Path, dates: pd.DatetimeIndex, columns: list[str], values: np.ndarray, *, notes: list[str]
) -> Series:
    """The series of a registered data set, with split, time step and season from the registry."""
    benchmark = DATASETS[config.data]
    if benchmark.is_demo:
        notes = [*notes, "demo data: synthetic, generated by data_provider/demo.py"]
    return build_series(
        config,
        path,
        dates,
        columns,
        values,
        borders=benchmark_borders(benchmark, len(dates)),
        time_step=benchmark.time_step,
        season_length=benchmark.season_length,
        notes=notes,
        is_demo=benchmark.is_demo,
    )


def build_series(
    config: DataConfig,
    path: Path,
    dates: pd.DatetimeIndex,
    columns: list[str],
    values: np.ndarray,
    *,
    borders: Borders,
    time_step: str,
    season_length: int,
    notes: list[str],
    is_demo: bool = False,
) -> Series:
    """The series with the channels of --features and --target; the scaler is fitted on the training split."""
    target_channels = list(range(len(columns)))
    if config.features != "M":
        if config.target not in columns:
            raise ValueError(
                f"--target {config.target} is not a column of {path}: --features {config.features} needs one of "
                f"{', '.join(columns[:12])}"
            )
        target = columns.index(config.target)
        if config.features == "S":
            columns, values, target_channels = [config.target], values[:, [target]], [0]
        else:
            target_channels = [target]
    if borders.train < 2:
        raise ValueError(f"{path} has too few rows: {len(values)} rows leave {borders.train} for training")
    return Series(
        name=config.data if config.data != CUSTOM else path.stem,
        columns=columns,
        dates=dates,
        values=values,
        borders=borders,
        scaler=Standardizer.fit(values[: borders.train]),
        target_channels=target_channels,
        time_step=time_step,
        season_length=season_length,
        fingerprint="",
        notes=[*notes, *constant_notes(values, columns, borders)],
        is_demo=is_demo,
        description=_description(config, path, columns, time_step),
    )


def constant_notes(values: np.ndarray, columns: list[str], borders: Borders) -> list[str]:
    """A remark for each channel that is constant in training and varies later, which its scale cannot know."""
    train, later = values[: borders.train], values[borders.train : borders.test]
    is_constant = (train.min(axis=0) == train.max(axis=0)) & (later != train[0]).any(axis=0)
    return [
        f"column {columns[channel]} is constant ({train[0, channel]:g}) in the training rows and varies later: it "
        "cannot be scaled, its errors are in its own units and can outweigh all others: leave it out with "
        "--columns, or move --split"
        for channel in np.flatnonzero(is_constant)
    ]


def _description(config: DataConfig, path: Path, columns: list[str], time_step: str) -> str:
    if config.data != CUSTOM:
        return DATASETS[config.data].description
    shown = ", ".join(columns[:NUM_DESCRIBED]) + (" and others" if len(columns) > NUM_DESCRIBED else "")
    return f"Time series {path.stem} of {shown}, one value every {time_step}."


def benchmark_borders(benchmark: Benchmark, num_rows: int) -> Borders:
    """The borders that the registry says, as rows or as fractions."""
    if benchmark.borders:
        return Borders(*benchmark.borders)
    train, test = benchmark.fractions
    return borders_by_fraction(num_rows, train=train, test=test)
