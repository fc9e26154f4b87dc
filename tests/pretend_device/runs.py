"""The library's own commands on the pretended device: as on a CUDA GPU, but for what torch decides by the name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from accelerate import PartialState

import exp.predict.forecaster as forecaster
from data_provider.m4.windows import M4Windows
from data_provider.windows import Windows
from exp import exp_long_term_forecast
from exp.exp_predict import Predict
from exp.training import evaluation
from exp.training.features.cache import FeatureCache
from exp.training.loop import TrainingLoop
from exp.training.runtime import Runtime
from exp.training.step import TrainingStep
from tests.pretend_device.device import PretendedDevice
from utils.metrics import MetricSet

STEP, BATCH, FEATURES = "training step", "batch", "row whose features are not kept yet"
EPOCH, EVALUATION = "training epoch, between its steps", "evaluation"
PICTURES = ((exp_long_term_forecast, "plot_samples"), (exp_long_term_forecast, "plot_training"), (Predict, "_plot"))


@contextmanager
def library_on(gpu: PretendedDevice) -> Iterator[None]:
    """Commands in the `with` block compute on `gpu`, whatever `--device` says."""
    build = Runtime.__init__

    def build_on_gpu(runtime: Runtime, *configs: Any) -> None:
        build(runtime, *configs)
        for state in (runtime.accelerator.state._shared_state, PartialState._shared_state):
            state["device"] = gpu.device
        runtime.device = runtime.accelerator.device
        assert runtime.device == gpu.device

    with ExitStack() as changes:
        for owner, name, new in (
            (Runtime, "__init__", build_on_gpu),
            (TrainingStep, "__call__", _marked(gpu, STEP, TrainingStep.__call__)),
            (Windows, "__getitem__", _marked(gpu, BATCH, Windows.__getitem__)),
            (M4Windows, "__getitem__", _marked(gpu, BATCH, M4Windows.__getitem__)),
            (FeatureCache, "__call__", _marked(gpu, FEATURES, FeatureCache.__call__)),
            (TrainingLoop, "_train_epoch", _marked(gpu, EPOCH, TrainingLoop._train_epoch)),
            (evaluation, "forecast_batch", _marked(gpu, EVALUATION, evaluation.forecast_batch)),
            (evaluation, "series_of_batch", _marked(gpu, EVALUATION, evaluation.series_of_batch)),
            (MetricSet, "update", _marked(gpu, EVALUATION, MetricSet.update)),
            *((owner, name, _nothing) for owner, name in PICTURES),
            (forecaster, "chosen_device", lambda device: str(gpu.device)),  # noqa: ARG005
            # Adam updates all parameters in a few launches on CUDA.
            (importlib.import_module("torch.optim.adam"), "_default_to_fused_or_foreach", _all_at_once),
        ):
            changes.enter_context(patch.object(owner, name, new))
        yield


def _marked(gpu: PretendedDevice, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, with what happens in it recorded as `part`."""

    def marked(*args: Any, **named: Any) -> Any:
        with gpu.part(part):
            return call(*args, **named)

    return marked


def _nothing(*_: Any, **_more: Any) -> None:
    """Pictures take longer than the runs that they show."""


def _all_at_once(
    parameters: list[torch.Tensor],  # noqa: ARG001
    differentiable: bool,  # noqa: ARG001
    use_fused: bool = False,  # noqa: ARG001
) -> tuple[bool, bool]:
    return False, True
