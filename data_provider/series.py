"""A table that has been read once and found fit for training: values, dates, borders, scaler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from data_provider.config import DataConfig
from data_provider.datasets import CUSTOM, DATASETS
from data_provider.scaling import Standardizer
from data_provider.splits import Borders, Split, borders_by_fraction, rows_of_split
from data_provider.windows import Windows


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesInfo:
    """A data set without its values.

    `target_channels` are the channels that are evaluated, `time_step` is a pandas offset string, `season_length` the
    strongest natural cycle in time steps, `fingerprint` the SHA-256 of the file.
    """

    name: str
    columns: list[str]
    target_channels: list[int]
    time_step: str
    season_length: int
    scaler: Standardizer
    fingerprint: str
    is_demo: bool = False

    @property
    def num_channels(self) -> int:
        """Channels that a model reads."""
        return len(self.columns)

    @property
    def target_columns(self) -> list[str]:
        """Names of the evaluated channels."""
        return [self.columns[channel] for channel in self.target_channels]

    def to_record(self) -> dict[str, Any]:
        """JSON values for config.json and checkpoints."""
        names = ("name", "columns", "target_channels", "time_step", "season_length", "fingerprint")
        return {**{name: getattr(self, name) for name in names}, "scaler": self.scaler.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`."""
        return cls(**{**record, "scaler": Standardizer.from_dict(record["scaler"])})


class WindowSource(SeriesInfo, ABC):
    """A data set that an experiment can train on: it can cut the windows of each split."""

    @abstractmethod
    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        needs_time_features: bool = False,
        device: torch.device | str = "cpu",
    ) -> Windows:
        """The windows of a split in scaled units; ValueError where the split is too short for one."""


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
        features = None
        if needs_time_features:
            from data_provider.time_features import time_features

            features = time_features(dates, self.time_step)
        return Windows(
            self.scaler.transform(self.values[rows.start : rows.stop]),
            seq_len=config.seq_len,
            pred_len=config.pred_len,
            channel_independent=channel_independent,
            target_channels=self.target_channels,
            row_channels=None if split == "train" else self.target_channels,
            dates=dates,
            time_features=features,
            device=device,
        )


def benchmark_series(
    config: DataConfig, path: Path, dates: pd.DatetimeIndex, columns: list[str], values: np.ndarray, *, notes: list[str]
) -> Series:
    """The series of a registered data set, split and described as the registry says."""
    benchmark = DATASETS[config.data]
    if benchmark.is_demo:
        notes = [*notes, "demo data: synthetic, made by data_provider/demo.py"]
    return build_series(
        config,
        path,
        dates,
        columns,
        values,
        borders=Borders(*benchmark.borders) if benchmark.borders else borders_by_fraction(len(dates)),
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
    """The series with the channels that --features and --target ask for, its scaler fitted on the training rows."""
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
        notes=notes,
        is_demo=is_demo,
    )
