"""Evaluation of a model on every window of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data_provider.batches.loader import Loader
from data_provider.transfer import copied_to
from data_provider.windows import Batch, Windows
from exp.training.graphs import GraphedForward
from exp.training.runtime import Runtime
from models import model_class
from models.base import Forecast, Forecaster, ForecastSpec
from utils.intervals.quantiles import QUANTILE_METRICS
from utils.metrics import METRICS, Evaluated, Metric, MetricSet
from utils.signals import raise_if_requested
from utils.terminal import progress_bar

MetricKind = TypeVar("MetricKind", bound=Metric)
NAIVE = ("LastValue", "SeasonalNaive")
SHOWN_NAIVE = "SeasonalNaive"


def measure(
    runtime: Runtime,
    model: Forecaster,
    loader: Loader,
    *,
    label: str,
    more: Sequence[Metric] = (),
    quantiles: tuple[float, ...] = (),
) -> MetricSet:
    """Evaluate all `METRICS`, and `more`, on a whole split; the same result on all ranks.

    `quantiles` are the levels that a forecast is also judged by: those of a model that forecasts them, or of one that
    it is compared with.
    """
    kinds = [*METRICS, *(partial(kind, quantiles) for kind in QUANTILE_METRICS if quantiles)]
    metrics = MetricSet([*more, *(metric_of(kind, loader, runtime) for kind in kinds)])
    return evaluate(runtime, model, loader, metrics, label=label)


def metric_of(kind: Callable[..., MetricKind], loader: Loader, runtime: Runtime) -> MetricKind:
    """A new metric for the windows and channels of `loader`."""
    windows = loader.windows
    return kind(
        num_windows=windows.num_windows,
        num_channels=len(windows.target_channels),
        pred_len=windows.pred_len,
        device=runtime.metric_device,
    )


@torch.no_grad()
def evaluate(runtime: Runtime, model: Forecaster, loader: Loader, metric: MetricKind, *, label: str) -> MetricKind:
    """Evaluate `metric` on a whole split, in eval mode. Returns it, reduced over all ranks."""
    model.eval()
    forward = GraphedForward(model, loader.global_batch_size) if runtime.has_graphs_for(model) else model
    for batch in progress_bar(loader, total=len(loader), label=label, shown=runtime.is_main):
        raise_if_requested()
        values, quantiles = forecast_batch(runtime, forward, loader.windows, batch)
        window, channel, target, values = (
            value.to(runtime.metric_device) for value in (*series_of_batch(loader.windows, batch), batch.target, values)
        )
        quantiles = None if quantiles is None else quantiles.to(runtime.metric_device)
        metric.update(Evaluated(values, target, window, channel, quantiles))
    metric.reduce(runtime.sum_over_processes)
    return metric


@torch.no_grad()
def forecast_batch(
    runtime: Runtime, forward: Callable[..., Forecast], windows: Windows, batch: Batch
) -> tuple[Float[Tensor, "row pred_len channel"], Float[Tensor, "row pred_len channel level"] | None]:
    """A model's forecast of the evaluated channels, and its quantiles if it has some, in scaled units."""
    with runtime.autocast():
        forecast = forward(batch.look_back, **batch.inputs)
    return forecast.on_targets(windows.keep_targets)


def series_of_batch(windows: Windows, batch: Batch) -> tuple[Int[Tensor, "row channel"], Int[Tensor, "row channel"]]:
    """Window number, and position among the evaluated channels, of each series in a batch."""
    return windows.series_of(copied_to(batch.rows, batch.target.device))


def naive_model(name: str, spec: ForecastSpec) -> Forecaster:
    """A model without weights, in its default settings."""
    return model_class(name).build(model_class(name).Config(), spec)


def naive_values(runtime: Runtime, loader: Loader, spec: ForecastSpec) -> dict[str, dict[str, float]]:
    """Errors of the naive forecasts on a split, for comparison, in scaled units; by the quantiles of `spec`, if any."""
    values = {}
    for name in NAIVE:
        model = naive_model(name, spec)
        values[name] = measure(runtime, model, loader.without_inputs(), label=name, quantiles=spec.quantiles).values()
    return values
