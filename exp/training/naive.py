"""The forecasts that need no training, which stand in every closing table."""

from __future__ import annotations

from data_provider.loader import Loader
from exp.training.evaluation import split_errors
from exp.training.runtime import Runtime
from models import model_class
from models.base import ForecastSpec

NAIVE = ("LastValue", "SeasonalNaive")


def naive_errors(runtime: Runtime, loader: Loader, shape: ForecastSpec) -> dict[str, dict[str, float]]:
    """MSE and MAE in scaled units of each naive forecast over the split."""
    errors = {}
    for name in NAIVE:
        model = model_class(name).build(model_class(name).Config(), shape)
        sums = split_errors(runtime, model, loader.without_inputs(), label=name)
        errors[name] = {"mse": sums.mse, "mae": sums.mae}
    return errors
