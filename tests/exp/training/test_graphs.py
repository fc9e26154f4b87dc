"""Steps replayed from a graph train as the same steps one by one; here the graph is one that runs its work again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from data_provider.windows import Batch
from exp.config import TrackConfig, TrainConfig
from exp.training.evaluation import naive_model
from exp.training.graphs import STEPS_BEFORE, GraphedForward, GraphedStep, Losses
from exp.training.runtime import Runtime
from exp.training.step import TrainingStep
from models.base import Forecast, Forecaster, ForecastSpec


class Small(Forecaster):
    """A linear forecast that also reads an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.offset = nn.Linear(4, 2), nn.Parameter(torch.zeros(1))

    def forward(self, look_back: Tensor, **inputs: Tensor) -> Forecast:
        values = self.line(look_back[..., 0]) + self.offset * inputs["shift"]
        return Forecast(values[..., None], {"size": self.offset.square().sum() + values.square().mean()})


class Again:
    """What stands for a CUDA graph: the work is done anew, its results go where those of the recording are."""

    def __init__(self, model: nn.Module, work: Callable[[], Losses]) -> None:
        self.model, self.work, self.losses = model, work, work()
        self.gradients = [parameter.grad for parameter in model.parameters()]

    def replay(self) -> None:
        """The work once more, into the memory of the first time."""
        found = self.work()
        for name, kept in self.losses.items():
            kept.copy_(found[name])
        for kept, parameter in zip(self.gradients, self.model.parameters(), strict=True):
            if kept is not None and parameter.grad is not None:
                kept.copy_(parameter.grad)


def batch(number: int, num_rows: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(number)
    look_back, target = (torch.randn(num_rows, length, 1, generator=generator) for length in (4, 2))
    return Batch(torch.arange(num_rows), look_back, target, {"shift": torch.full((num_rows, 1), number / 10)}, num_rows)


def trained(*, graphed: bool) -> tuple[list[dict[str, float]], list[Tensor], int]:
    """Losses of every step, the weights after them, and the number of graphs."""
    torch.manual_seed(0)
    model = Small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    step = TrainingStep(model, optimizer, "mse", forward=model, keep_targets=lambda values: values)
    recorded: list[Again] = []

    def record(work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        recorded.append(Again(model, work))
        return recorded[-1].replay, recorded[-1].losses

    run = GraphedStep(step, 3, record) if graphed else step
    found = []
    for number in range(3 * STEPS_BEFORE + 4):
        if number == 6:
            optimizer.param_groups[0]["lr"] = 0.01
        if number == 7:
            model.line.weight.requires_grad_(False)
            model.line.weight.grad = None
        # Now and then an odd batch.
        losses = run(batch(number, 2 if number % 5 == 4 else 3))
        found.append({name: value.item() for name, value in losses.items()})
    return found, [parameter.detach().clone() for parameter in model.parameters()], len(recorded)


def test_replayed_steps_train_as_steps_one_by_one():
    """With an odd batch now and then, another learning rate, and a parameter that is frozen on the way."""
    losses, weights, _ = trained(graphed=False)
    replayed, replayed_weights, num_graphs = trained(graphed=True)
    assert replayed == losses and all(map(torch.equal, replayed_weights, weights))
    assert num_graphs == 2


@torch.no_grad()
def test_replayed_forecasts_are_those_of_the_model():
    """Full batches of two shapes and odd ones; what was returned is not written over by the next."""
    model, recorded = Small().eval(), []

    def record(work: Callable[[], Forecast]) -> tuple[Callable[[], None], Forecast]:
        made = work()
        recorded.append(made)

        def replay() -> None:
            made.values.copy_(work().values)

        return replay, made

    forward, found, expected = GraphedForward(model, 3, record), [], []
    for number in range(4 * STEPS_BEFORE):
        given = batch(number, 2 if number % 5 == 4 else 3)
        shift = given.inputs["shift"][:, :1].expand(-1, 1 if number % 2 else 2)
        found.append(forward(given.look_back, shift=shift).values)
        expected.append(model(given.look_back, shift=shift).values)
    assert len(recorded) == 2 and all(map(torch.equal, found, expected))


def test_the_naive_forecasts_that_a_run_is_compared_with_are_launched_as_usual(monkeypatch):
    """Recording was never tried with them, and their few operations are not worth a graph."""
    runtime = Runtime(TrainConfig(device="cpu", cuda_graph=True), TrackConfig())
    monkeypatch.setattr(runtime, "device", torch.device("cuda"))
    assert runtime.has_graphs_for(Small())
    assert not runtime.has_graphs_for(naive_model("SeasonalNaive", ForecastSpec(seq_len=4, pred_len=2, num_channels=1)))


@pytest.mark.parametrize("shapes_depend", [False, True])
def test_where_there_is_no_graph_steps_are_launched_as_usual_and_the_log_says_so(monkeypatch, caplog, shapes_depend):
    caplog.set_level("INFO")
    monkeypatch.setattr(Small, "shapes_depend_on_values", shapes_depend)
    runtime = Runtime(TrainConfig(device="cpu", cuda_graph=True), TrackConfig())
    runtime.say_why_no_graphs(Small())
    assert not runtime.has_graphs_for(Small())
    reason = "the shapes of Small depend on the values" if shapes_depend else "only CUDA GPUs have graphs"
    assert f"--cuda_graph: {reason}" in caplog.text
