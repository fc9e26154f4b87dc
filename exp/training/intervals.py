"""Prediction intervals of a run: measured on its validation split, kept beside its checkpoint."""

from __future__ import annotations

from pathlib import Path

from data_provider.loader import Loader
from exp.training.evaluation import evaluate
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.conformal import AbsoluteErrors, Intervals


def new_errors(runtime: Runtime, validation: Loader) -> AbsoluteErrors:
    """An observer of a pass over the validation split that intervals can be made of."""
    windows = validation.windows
    return AbsoluteErrors(
        num_windows=windows.num_windows,
        num_channels=len(windows.target_channels),
        pred_len=windows.pred_len,
        device=runtime.device,
    )


def calibrate(
    runtime: Runtime, model: Forecaster, validation: Loader, errors: AbsoluteErrors | None = None
) -> Intervals:
    """The intervals of `model`, the same in every process: from `errors` seen before, or one more validation pass."""
    if errors is None:
        errors = new_errors(runtime, validation)
        evaluate(runtime, model, validation, observers=[errors], label="intervals")
    errors.reduce(runtime.sum_over_processes)
    return errors.intervals()


def save_intervals(path: Path, intervals: Intervals) -> None:
    """Writes half widths in scaled units [level, channel, step] with their levels."""
    header = {"levels": intervals.levels, "num_errors": intervals.num_errors, "unit": "scaled units"}
    save_checkpoint(path, {"bounds": intervals.bounds}, header)


def load_intervals(path: Path) -> Intervals:
    """What `save_intervals` wrote; FileNotFoundError where the run kept none."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: intervals come from a run that was trained to its end, kept as a whole folder; "
            "leave --interval away for the forecast alone"
        )
    tensors, header = load_checkpoint(path)
    return Intervals(tuple(header["levels"]), tensors["bounds"], header["num_errors"])
