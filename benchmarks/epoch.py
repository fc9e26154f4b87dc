"""Time and validation error of a short training with the library's loop: the published algorithm against ours.

`python -m benchmarks.epoch --pred_len 96 --data ETTh1 --root_path FOLDER --llm_tokenizer FOLDER`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from transformers.hf_argparser import HfArg

from benchmarks.cases import ROUNDED_DIGITS, SEED, CaseConfig, build, data_config
from benchmarks.measuring.apart import run_apart
from benchmarks.measuring.machine import describe, matmul_rate
from benchmarks.measuring.training import ShortTraining
from benchmarks.prompts import ROWS_AT_ONCE
from benchmarks.tables import publish
from data_provider.data_factory import load_series
from exp.config import TrainConfig
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

BALM_WAYS = {
    "plain": "published algorithm, float32",
    "plain_without_dropout": "the same without dropout in the frozen LLM",
    "fp32": "ours, float32, exact",
    "bf16": "ours, LLM in bfloat16",
    "rounded_prompt": f"--prompt_digits {ROUNDED_DIGITS}",
    "frozen_after_1": "--freeze_prompt_after 1",
    "frozen_prompt": "--freeze_prompt_after 0",
}
WAYS = {"BALM": BALM_WAYS, "CALF": {way: BALM_WAYS[way] for way in ("plain", "fp32", "bf16")}}


@dataclass(frozen=True)
class EpochConfig(CaseConfig):
    """Length of the training."""

    percent: int = HfArg(default=2, help="Percentage of the training rows, the oldest first")
    train_epochs: int = HfArg(default=3, help="Number of epochs")
    validation_batches: int = HfArg(default=20, help="Number of validation batches")
    learning_rate: float = HfArg(default=1e-3, help="Constant learning rate")
    only: str = HfArg(default="", help="Only train this way and print the result as JSON")
    output: str = HfArg(default="", help="Markdown file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Train every way in its own process and print a table."""
    (config,) = parse_flags([EpochConfig], arguments, belongs_to={}, prog="python -m benchmarks.epoch")
    if config.only:
        print(json.dumps(train_here(config, config.only)))
        return 0
    found = {way: run_apart("benchmarks.epoch", arguments, way) for way in WAYS[config.model]}
    rows = [_row(WAYS[config.model][way], measured, found["plain"]) for way, measured in found.items()]
    seconds = [f"epoch {number + 1}, s" for number in range(config.train_epochs)]
    header = ["training", *seconds, "all against plain", "last epoch against plain", "validation MSE", "GFLOP/s before"]
    publish(
        f"{config.model}, look-back {config.seq_len}, horizon {config.pred_len}, {config.train_epochs} epochs of "
        f"{found['plain']['rows']} rows",
        describe(torch.device(config.device)),
        [_notes(config)],
        [markdown(header, rows)],
        config.output,
    )
    return 0


def train_here(config: EpochConfig, way: str, *, cuda_graph: bool = False) -> dict[str, Any]:
    """Train one way: seconds and validation MSE per epoch, rows per epoch, and matrix product rate in GFLOP/s."""
    train = replace(train_config(config, way), cuda_graph=cuda_graph)
    device = torch.device(config.device)
    rate = matmul_rate(torch.float32, device)
    work = ShortTraining(build(config, way), replace(data_config(config), percent=config.percent), train)
    training, validation = work.loader("train"), work.loader("validation").first_steps(config.validation_batches)
    found = work.fit(training, validation)
    return {**asdict(found), "rows": len(training.windows), "rate": 2 * rate / 1e9}


def prompts_alone(config: EpochConfig) -> tuple[int, float]:
    """Number of training rows, and the seconds in which one thread makes all their prompts."""
    model, data = build(config, "fp32"), replace(data_config(config), percent=config.percent)
    windows = load_series(data).windows("train", config=data, channel_independent=True)
    threads, began = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        for rows in torch.arange(len(windows)).split(ROWS_AT_ONCE):
            model.prompt_inputs(windows.look_back_on_cpu(rows))
    finally:
        torch.set_num_threads(threads)
    return len(windows), time.perf_counter() - began


def train_config(config: EpochConfig, way: str) -> TrainConfig:
    """Settings of the training loop."""
    return TrainConfig(
        batch_size=config.batch_size,
        eval_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lradj="constant",
        train_epochs=config.train_epochs,
        seed=SEED,
        precision="bf16" if way.endswith("bf16") else "fp32",
        device="auto" if config.device == "cuda" else "cpu",
    )


def _row(label: str, measured: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    seconds, of_plain = measured["seconds"], plain["seconds"]
    return [
        label,
        *(f"{value:.1f}" for value in seconds),
        f"{sum(of_plain) / sum(seconds):.2f}x",
        f"{of_plain[-1] / seconds[-1]:.2f}x",
        f"{measured['mse'][-1]:.5f}",
        f"{measured['rate']:.0f}",
    ]


def _notes(config: EpochConfig) -> str:
    tokenizer = "GPT-2's tokenizer" if config.llm_tokenizer else "the built-in tokenizer"
    return (
        f"GPT-2 with random weights, {tokenizer}, {config.percent} % of the training rows of {config.data}, batches of "
        f"{config.batch_size}, validation on {config.validation_batches} batches, learning rate "
        f"{config.learning_rate}, seed {SEED}: not a paper result. Epoch times include validation. Trainings run one "
        "after the other, each in its own process; the last column is the float32 rate of matrix products measured "
        "just before. The published algorithm too gets prompts that are made once, and trains with dropout in the LLM."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
