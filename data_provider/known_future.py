"""Columns whose future is known: told from the channels of a table, and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data_provider.scaling import Standardizer
from data_provider.tables.table import Table


@dataclass(frozen=True, eq=False)
class KnownFuture:
    """Names of the columns and their scaler, fitted on the training rows."""

    columns: list[str]
    scaler: Standardizer

    def to_record(self) -> dict[str, Any]:
        """JSON values for config.json and checkpoints."""
        return {"columns": self.columns, "scaler": self.scaler.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`."""
        return cls(record["columns"], Standardizer.from_dict(record["scaler"]))


def split_table(table: Table, names: Sequence[str]) -> tuple[Table, Float[ndarray, "time column"], int]:
    """The table of the channels alone, the known columns, and the number of rows after the last one with a channel.

    Those rows are the known future: their channels are empty. Raises ValueError for a name that is no column.
    """
    if table.long is not None:
        raise ValueError(f"--known_future needs a column for each channel, but {table.path} is in long format")
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(f"--known_future {missing[0]} is no column of {table.path}: {', '.join(table.columns[:12])}")
    channels = [place for place, name in enumerate(table.columns) if name not in names]
    if not channels:
        raise ValueError(f"--known_future names every column of {table.path}: none is left to forecast")
    places = [table.columns.index(name) for name in names]
    values = table.values[:, channels]
    filled = np.flatnonzero((~np.isnan(values) | table.unread[:, channels]).any(axis=1))
    num_future = len(values) - (int(filled[-1]) + 1 if len(filled) else 0)
    alone = replace(
        table, columns=[table.columns[place] for place in channels], values=values, unread=table.unread[:, channels]
    )
    return alone, table.values[:, places], num_future
