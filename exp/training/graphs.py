"""Training steps and forecasts as CUDA graphs: the launches of a batch shape recorded once, then replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from data_provider.windows import Batch
from exp.training.step import TrainingStep
from models.base import Forecast

# Steps of a shape before its graph is recorded: kernels are chosen and libraries loaded in them.
STEPS_BEFORE = 3
# What a model and its losses read of a batch, besides its inputs.
_READ = ("look_back", "target")
Losses = dict[str, Tensor]
Replay = Callable[[], None]
Made = TypeVar("Made")
Record = Callable[[Callable[[], Made]], tuple[Replay, Made]]


@dataclass(frozen=True)
class _Graph:
    """A recorded step: its batch, losses and gradients are the tensors that every replay reads and writes."""

    replay: Replay
    batch: Batch
    losses: Losses
    gradients: list[Tensor | None]


class GraphedStep:
    """A training step whose forward and backward pass are replayed from a graph for each shape of a full batch.

    Adam stays outside (a few launches), so that learning rates may change. Steps before a shape's graph is recorded,
    and batches with rows of another weight (the odd last one), are computed as `step` does. Graphs are recorded anew
    when other parameters train. `record` runs the work it is given and returns what repeats it on what
    lies in its tensors by then, and its losses.
    """

    def __init__(self, step: TrainingStep, batch_size: int, record: Record[Losses] | None = None) -> None:
        self.step, self.batch_size, self.record = step, batch_size, record or record_cuda_graph
        self._graphs: dict[Any, _Graph] = {}
        self._seen: dict[Any, int] = {}

    def __call__(self, batch: Batch) -> Losses:
        """Train on `batch`. Returns each loss by name and their sum, as `TrainingStep`."""
        if len(batch.rows) != self.batch_size or batch.num_global_rows != self.batch_size:
            return self.step(batch)
        key = self._key(batch)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] <= STEPS_BEFORE:
            return self.step(batch)
        if key not in self._graphs:
            self._graphs[key] = self._recorded(batch)
        graph = self._graphs[key]
        for kept, given in zip(_tensors(graph.batch), _tensors(batch), strict=True):
            kept.copy_(given, non_blocking=True)
        graph.replay()
        for parameter, gradient in zip(self.step.model.parameters(), graph.gradients, strict=True):
            parameter.grad = gradient
        self.step.update()
        return {name: value.clone() for name, value in graph.losses.items()}

    def _recorded(self, batch: Batch) -> _Graph:
        """Record the forward and backward pass of batches of this shape."""
        kept = _with_tensors(batch, [value.clone() for value in _tensors(batch)])
        # So that the gradients are made while recording, in memory that belongs to the graph.
        self.step.optimizer.zero_grad(set_to_none=True)
        replay, losses = self.record(lambda: self.step.backpropagate(kept))
        return _Graph(replay, kept, losses, [parameter.grad for parameter in self.step.model.parameters()])

    def _key(self, batch: Batch) -> tuple[Any, ...]:
        trains = tuple(parameter.requires_grad for parameter in self.step.model.parameters())
        return (*(value.shape for value in _tensors(batch)), tuple(batch.inputs), trains)


class GraphedForward:
    """Forecasts without gradient, whose forward pass is replayed from a graph for each shape of a full batch.

    It is for a model in evaluation mode whose weights do not change meanwhile. `record` is as for `GraphedStep`.
    """

    def __init__(
        self, forward: Callable[..., Forecast], batch_size: int, record: Record[Forecast] | None = None
    ) -> None:
        self.forward, self.batch_size, self.record = forward, batch_size, record or record_cuda_graph
        self._graphs: dict[Any, tuple[Replay, list[Tensor], Forecast]] = {}
        self._seen: dict[Any, int] = {}

    def __call__(self, look_back: Tensor, **inputs: Tensor) -> Forecast:
        """The forecast, in tensors of its own."""
        given = [look_back, *inputs.values()]
        key = (*(value.shape for value in given), tuple(inputs))
        self._seen[key] = self._seen.get(key, 0) + 1
        if len(look_back) != self.batch_size or self._seen[key] <= STEPS_BEFORE:
            return self.forward(look_back, **inputs)
        if key not in self._graphs:
            kept = [value.clone() for value in given]
            replay, forecast = self.record(lambda: self.forward(kept[0], **dict(zip(inputs, kept[1:], strict=True))))
            self._graphs[key] = replay, kept, forecast
        replay, kept, forecast = self._graphs[key]
        for own, value in zip(kept, given, strict=True):
            own.copy_(value, non_blocking=True)
        replay()
        quantiles = forecast.quantiles
        return Forecast(forecast.values.clone(), quantiles=None if quantiles is None else quantiles.clone())


def record_cuda_graph(work: Callable[[], Made]) -> tuple[Replay, Made]:
    """Record `work`, which runs once more in doing so, as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    # The thread that makes batches may go on meanwhile: what it allocates is none of the graph's.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = work()
    return graph.replay, made


def _tensors(batch: Batch) -> list[Tensor]:
    """What a model reads of a batch."""
    return [getattr(batch, name) for name in _READ] + list(batch.inputs.values())


def _with_tensors(batch: Batch, tensors: list[Tensor]) -> Batch:
    own, inputs = tensors[: len(_READ)], tensors[len(_READ) :]
    return replace(batch, **dict(zip(_READ, own, strict=True)), inputs=dict(zip(batch.inputs, inputs, strict=True)))
