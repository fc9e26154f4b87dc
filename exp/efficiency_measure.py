"""What a model costs: parameters, memory and seconds per iteration, measured on the way that experiments go."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from data_provider.windows import Batch
from exp.command_line import parse_command
from exp.exp_long_term_forecast import LongTermForecast
from exp.training.data import SplitData
from exp.training.evaluation import forecast_batch
from exp.training.runtime import cpu_name
from utils.losses import LOSSES
from utils.memory import peak_memory_bytes

WARM_UP = 2


@dataclass(frozen=True)
class Efficiency:
    """One model's costs. Memory in bytes, seconds are medians per iteration; None where nothing is trained.

    `memory` is what torch held on the GPU at most or, on a CPU, by how much the process grew from before the model was
    built to its largest size while it forecast.
    """

    model: str
    total: int
    trainable: int
    inference: int
    rows: int
    windows: float
    memory: int
    seconds: float
    training_seconds: float | None
    device: str
    precision: str


def measure(arguments: Sequence[str], num_iterations: int) -> Efficiency:
    """Builds the model of `arguments` (the flags of run.py) and measures it; call it in a process of its own.

    Inference is timed over different batches of the test split, each row for the first time, so that what is computed
    once per row (a prompt's tokens) counts. Training is timed over steps of forward pass, loss, backward pass and Adam.
    ValueError or FileNotFoundError as by run.py.
    """
    before = _resident_bytes()
    with tempfile.TemporaryDirectory() as folder:
        experiment = LongTermForecast(parse_command([*arguments, "--output_dir", folder]))
    runtime, model = experiment.runtime, experiment.model

    def forecast(batch: Batch) -> None:
        with torch.no_grad():
            forecast_batch(runtime, model, experiment.test, batch)

    model.eval()
    _reset_peak(runtime.device)
    seconds, num_rows = _seconds_per_iteration(experiment.test, forecast, num_iterations)
    on_gpu = runtime.device.type == "cuda"
    memory = peak_memory_bytes(runtime.device)["device"] if on_gpu else _peak_resident_bytes() - before
    channels = experiment.series.num_channels if model.channel_independent else 1
    return Efficiency(
        model=experiment.settings.model_name,
        **model.count_parameters(),
        rows=num_rows,
        windows=num_rows / channels,
        memory=memory,
        seconds=seconds,
        training_seconds=_training_seconds(experiment, num_iterations),
        device=torch.cuda.get_device_name(runtime.device) if on_gpu else cpu_name(),
        precision=experiment.settings.train.precision,
    )


def _training_seconds(experiment: LongTermForecast, num_iterations: int) -> float | None:
    runtime, model, split = experiment.runtime, experiment.model, experiment.train
    groups = [group for group in model.parameter_groups(1e-4) if group["params"]]
    if not groups:
        return None
    optimizer, wrapped = torch.optim.Adam(groups), runtime.wrap(model)
    criterion = LOSSES[model.default_loss]

    def step(batch: Batch) -> None:
        forecast = wrapped(batch.look_back, **split.feature_cache.of(batch))
        loss = criterion(split.windows.keep_targets(forecast.values.float()), batch.target)
        loss = loss + sum(value.float() for value in forecast.auxiliary_losses.values())
        optimizer.zero_grad()
        runtime.backward(loss)
        optimizer.step()

    wrapped.train()
    split.loader.set_epoch(0)
    seconds, _ = _seconds_per_iteration(split, step, num_iterations)
    return seconds


def _seconds_per_iteration(split: SplitData, work: Callable[[Batch], None], num_iterations: int) -> tuple[float, int]:
    """Median seconds from asking for a batch to the end of its work, and rows in a batch."""
    split.loader.start_at(0)
    batches, times, num_rows = islice(iter(split.loader), WARM_UP + num_iterations), [], 0
    began = time.perf_counter()
    for batch in batches:
        work(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - began)
        began, num_rows = now, max(num_rows, len(batch.rows))
    # A short split may have no more batches than the warm-up takes.
    return statistics.median(times[WARM_UP:] or times), num_rows


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (path := Path("/proc/self/clear_refs")).exists():
        # 5 sets the high-water mark back to the present size, so that what loading the model took does not count.
        path.write_text("5")


def _resident_bytes() -> int:
    return _status_bytes("VmRSS")


def _peak_resident_bytes() -> int:
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    """A size that Linux tells of this process; elsewhere the largest size so far, which overstates what was added."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_memory_bytes(torch.device("cpu"))["host"]
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
