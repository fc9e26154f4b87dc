"""Reshape multichannel windows to univariate rows and back, for channel-independent layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def channels_as_rows(windows: Float[Tensor, "row time channel"]) -> Float[Tensor, "row*channel time"]:
    """Make each channel of each window a row; the channels of a window stay adjacent."""
    return windows.transpose(1, 2).flatten(0, 1)


def rows_as_channels(rows: Float[Tensor, "rows time"], num_channels: int) -> Float[Tensor, "row time {num_channels}"]:
    """Inverse of `channels_as_rows`."""
    return rows.unflatten(0, (-1, num_channels)).transpose(1, 2)
