"""The rows after a table's end that a forecast with known columns needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from exp.predict.input_table import InputTable
from utils.time_steps import dates_after


def with_known_future(
    table: InputTable, columns: Sequence[str], *, num_channels: int, pred_len: int, time_step: str
) -> InputTable:
    """The table up to its last row with a channel, and its known columns up to `pred_len` rows later.

    `table` has the `num_channels` channels and then the known `columns`. Raises ValueError if the future is not there.
    """
    channels, known = table.values[:, :num_channels], table.values[:, num_channels:]
    filled = np.flatnonzero(~np.isnan(channels).all(axis=1))
    if not len(filled):
        raise ValueError(f"{table.source} has no row with a value of a channel")
    end = int(filled[-1]) + 1
    last = table.dates[end - 1]
    expected = dates_after(last, time_step, pred_len)  # pyright: ignore[reportArgumentType]
    future = pd.DatetimeIndex(table.dates[end : end + pred_len])
    if len(future) < pred_len or not (future == expected).all() or not np.isfinite(known[: end + pred_len]).all():
        raise ValueError(
            f"{table.source}: this run reads {', '.join(columns)} of the future (--known_future): add the {pred_len} "
            f"rows {expected[0]} .. {expected[-1]} with a number in {'it' if len(columns) == 1 else 'each of them'}, "
            "and leave the other columns empty there"
        )
    return replace(table, dates=table.dates[:end], values=channels[:end], known=known[: end + pred_len])
