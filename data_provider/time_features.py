"""Calendar features of dates, scaled to [-0.5, 0.5], for the `timeF` embedding of Time-Series-Library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from utils.time_steps import fixed_step

_Feature = Callable[[pd.DatetimeIndex], np.ndarray]

_FEATURES: dict[str, _Feature] = {
    "second": lambda dates: np.asarray(dates.second) / 59.0 - 0.5,
    "minute": lambda dates: np.asarray(dates.minute) / 59.0 - 0.5,
    "hour": lambda dates: np.asarray(dates.hour) / 23.0 - 0.5,
    "day_of_week": lambda dates: np.asarray(dates.day_of_week) / 6.0 - 0.5,
    "day_of_month": lambda dates: (np.asarray(dates.day) - 1) / 30.0 - 0.5,
    "day_of_year": lambda dates: (np.asarray(dates.day_of_year) - 1) / 365.0 - 0.5,
    "week_of_year": lambda dates: (dates.isocalendar().week.to_numpy().astype(np.float64) - 1) / 52.0 - 0.5,
    "month_of_year": lambda dates: (np.asarray(dates.month) - 1) / 11.0 - 0.5,
}


_FINER = [(timedelta(days=1), "hour"), (timedelta(hours=1), "minute"), (timedelta(minutes=1), "second")]


def feature_names(time_step: str) -> list[str]:
    """The features for a time step: hour of day and coarser for hourly data, minutes too below an hour, and so on."""
    step = fixed_step(time_step)
    if step is None:
        is_monthly_or_longer = not time_step.startswith(("B", "C"))
        return ["month_of_year"] if is_monthly_or_longer else ["day_of_week", "day_of_month", "day_of_year"]
    if step >= timedelta(days=7):
        return ["day_of_month", "week_of_year"]
    names = ["day_of_week", "day_of_month", "day_of_year"]
    for unit, feature in _FINER:
        if step < unit:
            names = [feature, *names]
    return names


def time_features(dates: pd.DatetimeIndex, time_step: str) -> Float[ndarray, "time feature"]:
    """The features of `feature_names(time_step)` for each date, float32."""
    return np.stack([_FEATURES[name](dates) for name in feature_names(time_step)], axis=1).astype(np.float32)
