"""Channels as rows: how a window with several channels is read by a map that knows of one series only."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def channels_as_rows(windows: Float[Tensor, "row time channel"]) -> Float[Tensor, "row*channel time"]:
    """Every channel of every window as a row of its own, the channels of a window side by side."""
    return windows.transpose(1, 2).flatten(0, 1)


def rows_as_channels(rows: Float[Tensor, "rows time"], num_channels: int) -> Float[Tensor, "row time {num_channels}"]:
    """What `channels_as_rows` took apart, together again."""
    return rows.unflatten(0, (-1, num_channels)).transpose(1, 2)
