"""What a model is told of its task and series."""

from __future__ import annotations

import torch

from data_provider.datasets import DATASETS, PUBLISHED_DESCRIPTION
from data_provider.series import SeriesInfo
from data_provider.time_features import feature_names
from models.base import CPU, ForecastSpec
from utils.time_steps import pandas_step


def forecast_spec(
    series: SeriesInfo,
    *,
    seq_len: int,
    pred_len: int,
    dtype: torch.dtype,
    device: torch.device = CPU,
    quantiles: tuple[float, ...] = (),
) -> ForecastSpec:
    """The forecast spec of a model for `series`."""
    benchmark = DATASETS.get(series.name)
    targets = series.target_channels
    return ForecastSpec(
        seq_len=seq_len,
        pred_len=pred_len,
        num_channels=series.num_channels,
        season_length=series.season_length,
        time_step=pandas_step(series.time_step),
        num_time_features=len(feature_names(pandas_step(series.time_step))),
        dtype=dtype,
        data=series.name,
        description=series.description,
        published_description=benchmark.published_description if benchmark else PUBLISHED_DESCRIPTION,
        instruction=(benchmark.instruction if benchmark else "") or series.description,
        # The one channel of a panel's rows has the scale of another series in each row.
        channel_scales=(1.0,) if series.is_panel else tuple(series.scaler.scale.tolist()),
        target_channel=targets[0] if len(targets) == 1 < series.num_channels else None,
        num_known_future=len(series.known_future.columns) if series.known_future else 0,
        device=device,
        quantiles=quantiles,
    )
