"""Small tables on disk and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from data_provider.series import Series

if TYPE_CHECKING:
    from tests.data_provider.file_server import Server


def small_table(num_rows: int = 120, columns: tuple[str, ...] = ("a", "b", "OT"), freq: str = "h") -> pd.DataFrame:
    """Values that differ in every cell, so that a cell taken from the wrong place is seen."""
    values = np.random.default_rng(0).standard_normal((num_rows, len(columns))).cumsum(axis=0)
    table = pd.DataFrame(values + np.arange(len(columns)) * 100, columns=list(columns))
    table.insert(0, "date", pd.date_range("2024-01-01", periods=num_rows, freq=freq))
    return table


@pytest.fixture
def table() -> pd.DataFrame:
    """120 hours of three channels."""
    return small_table()


@pytest.fixture
def csv(tmp_path: Path, table: pd.DataFrame) -> Path:
    """The same on disk."""
    path = tmp_path / "my.csv"
    table.to_csv(path, index=False)
    return path


def config_of(path: Path, **changes) -> DataConfig:
    """Custom data with windows of 8 + 4 steps."""
    return DataConfig(**{"data": "custom", "data_path": str(path), "seq_len": 8, "pred_len": 4, **changes})


@pytest.fixture
def config(csv: Path) -> DataConfig:
    """The configuration that reads `csv`."""
    return config_of(csv)


@pytest.fixture
def series(config: DataConfig) -> Series:
    """The series in `csv`: rows 0-84-96-120."""
    return load_series(config)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine, for downloads."""
    from tests.data_provider.file_server import serving

    with serving() as running:
        yield running
