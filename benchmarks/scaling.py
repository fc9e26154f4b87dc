"""Cost against rows, channels and horizon: doubling the size should at most double the cost.

`python -m benchmarks.scaling --llm_tokenizer FOLDER`
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers.hf_argparser import HfArg

from benchmarks.cases import SEED, CaseConfig, build, synthetic_data, training_step
from benchmarks.measuring.machine import describe
from benchmarks.measuring.timing import synchronise, time_in_turn
from benchmarks.measuring.training import ShortTraining
from benchmarks.tables import publish
from exp.config import TrainConfig
from exp.training.evaluation import forecast_batch
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

DATA_ROWS = 8_000


@dataclass(frozen=True)
class ScalingConfig(CaseConfig):
    """Sizes to measure."""

    steps: list[int] = HfArg(default_factory=lambda: [5, 10, 20, 40], help="Training steps of an epoch")
    channels: list[int] = HfArg(default_factory=lambda: [7, 21, 107, 321, 862], help="Numbers of channels")
    horizons: list[int] = HfArg(default_factory=lambda: [24, 96, 192, 336, 720], help="Horizons")
    windows: int = HfArg(default=1, help="Number of windows evaluated at each number of channels")
    rounds: int = HfArg(default=5, help="Rounds of training steps at each horizon")
    output: str = HfArg(default="", help="Markdown file to write the tables to")


def main(arguments: Sequence[str]) -> int:
    """Measure and print three tables."""
    (config,) = parse_flags([ScalingConfig], arguments, belongs_to={}, prog="python -m benchmarks.scaling")
    tables = [
        _table("training rows of an epoch", *_by_rows(config)),
        _table("channels", *_by_channels(config)),
        _table("horizon", *_by_horizon(config)),
    ]
    tokenizer = "GPT-2's tokenizer" if config.llm_tokenizer else "the built-in tokenizer"
    publish(
        f"{config.model}, look-back {config.seq_len}: cost against rows, channels and horizon",
        describe(torch.device(config.device)),
        [
            f"GPT-2 with random weights, {config.llm_layers} blocks of {config.llm_width}, {tokenizer}, float32, "
            f"batches of {config.batch_size}. Rows: an epoch of the library's loop on synthetic data with its prompts. "
            f"Channels: forecasts of all channels of the first windows ({config.windows}). Horizon: a training "
            "step. The last column is cost over size, both relative to the first line: 1 is linear, less is better."
        ],
        tables,
        config.output,
    )
    return 0


def _table(what: str, sizes: list[int], seconds: list[float]) -> str:
    rows = [
        [f"{size:,}", f"{value:.2f}", f"{value / seconds[0]:.2f}", f"{value / seconds[0] / (size / sizes[0]):.2f}"]
        for size, value in zip(sizes, seconds, strict=True)
    ]
    return markdown([what, "seconds", "cost", "cost over size"], rows)


def _by_rows(config: ScalingConfig) -> tuple[list[int], list[float]]:
    """Training time of an epoch with the given number of steps, with an empty prompt cache."""
    work = _on_synthetic(config, channels=7)
    validation = work.loader("validation").first_steps(1)

    def seconds_of(steps: int) -> float:
        return work.fit(work.loader("train").first_steps(steps), validation).training[0]

    seconds_of(config.steps[0])  # warms up
    trainings = [seconds_of(steps) for steps in config.steps]
    return [steps * config.batch_size for steps in config.steps], trainings


def _by_channels(config: ScalingConfig) -> tuple[list[int], list[float]]:
    """Forecast time of the first test windows."""
    seconds = []
    for channels in (config.channels[0], *config.channels):
        work = _on_synthetic(config, channels=channels)
        test = work.loader("test")
        rows = test.windows.rows_of_windows(range(config.windows))
        began = time.perf_counter()
        for part in rows.split(config.batch_size):
            forecast_batch(work.runtime, work.model.eval(), test.windows, test.batch(part))
        synchronise(work.runtime.device)
        seconds.append(time.perf_counter() - began)
    return config.channels, seconds[1:]


def _by_horizon(config: ScalingConfig) -> tuple[list[int], list[float]]:
    """Time of a training step; the horizons take turns."""
    steps = {str(horizon): training_step(replace(config, pred_len=horizon), "fp32") for horizon in config.horizons}
    seconds = time_in_turn(steps, rounds=config.rounds, warmup=1, device=torch.device(config.device))
    return config.horizons, [statistics.median(found) for found in seconds.values()]


def _on_synthetic(config: ScalingConfig, *, channels: int) -> ShortTraining:
    train = TrainConfig(
        batch_size=config.batch_size, train_epochs=1, seed=SEED, device="auto" if config.device == "cuda" else "cpu"
    )
    with tempfile.TemporaryDirectory() as place:
        return ShortTraining(build(config, "fp32"), synthetic_data(config, Path(place), DATA_ROWS, channels), train)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
