"""Forecasts of a whole split, every window once, handed to whoever measures them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data_provider.loader import Loader
from data_provider.windows import Batch, Windows
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.metrics import ErrorSums
from utils.progress import progress_bar


@runtime_checkable
class Observer(Protocol):
    """Something that takes in forecasts and targets in scaled units (`utils.metrics.ErrorSums`, for one)."""

    def update(
        self,
        forecast: Float[Tensor, "row pred_len channel"],
        target: Float[Tensor, "row pred_len channel"],
        *,
        window: Int[Tensor, "row channel"],
        channel: Int[Tensor, "row channel"],
    ) -> None: ...


def split_errors(
    runtime: Runtime, model: Forecaster, loader: Loader, *, label: str, observers: Sequence[Observer] = ()
) -> ErrorSums:
    """The errors of `model` over the whole split, the same in every process; `observers` see what is measured."""
    windows = loader.windows
    sums = ErrorSums(
        num_windows=windows.num_windows,
        num_channels=len(windows.target_channels),
        pred_len=windows.pred_len,
        device=runtime.device,
    )
    evaluate(runtime, model, loader, observers=[sums, *observers], label=label)
    sums.reduce(runtime.sum_over_processes)
    return sums


@torch.no_grad()
def evaluate(runtime: Runtime, model: Forecaster, loader: Loader, *, observers: list[Observer], label: str) -> None:
    """Forecasts every row of this process's share in eval mode and shows forecasts and targets to `observers`."""
    model.eval()
    for batch in progress_bar(loader, total=len(loader), label=label, shown=runtime.is_main):
        values = forecast_batch(runtime, model, loader.windows, batch)
        window, channel = series_of_batch(loader.windows, batch)
        for observer in observers:
            observer.update(values, batch.target, window=window, channel=channel)


@torch.no_grad()
def forecast_batch(
    runtime: Runtime, model: Forecaster, windows: Windows, batch: Batch
) -> Float[Tensor, "row pred_len channel"]:
    """The model's forecast in scaled units of the channels that are evaluated."""
    with runtime.autocast():
        values = model(batch.look_back, **batch.inputs).values
    return windows.keep_targets(values.float())


def series_of_batch(windows: Windows, batch: Batch) -> tuple[Int[Tensor, "row channel"], Int[Tensor, "row channel"]]:
    """Window number, and channel number among the evaluated channels, of each series of a batch."""
    device, num_targets = batch.target.device, len(windows.target_channels)
    rows = batch.rows.to(device)
    if not windows.channel_independent:
        channel = torch.arange(num_targets, device=device)
        return rows[:, None].expand(-1, num_targets), channel[None].expand(len(rows), -1)
    window, channel = windows.window_and_channel(rows)
    position = torch.zeros(windows.num_channels, dtype=torch.int64, device=device)
    position[windows.target_channels] = torch.arange(num_targets, device=device)
    return window[:, None], position[channel][:, None]
