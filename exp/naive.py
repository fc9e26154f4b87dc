"""The forecasts that need no training, which stand in every closing table."""

from __future__ import annotations

from exp.evaluation import split_errors
from exp.runtime import Runtime
from exp.split_data import SplitData
from models import model_class
from models.base import TaskShape

NAIVE = ("LastValue", "SeasonalNaive")


def naive_errors(runtime: Runtime, split: SplitData, shape: TaskShape) -> dict[str, dict[str, float]]:
    """MSE and MAE in scaled units of each naive forecast over the split."""
    errors = {}
    for name in NAIVE:
        model = model_class(name).build(model_class(name).Config(), shape)
        sums = split_errors(runtime, model, split.for_model(model), label=name)
        errors[name] = {"mse": sums.mse, "mae": sums.mae}
    return errors
