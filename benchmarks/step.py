"""Time and memory of a training step and an inference batch: ratios of the published algorithm to ours in one run.

`python -m benchmarks.step --model BALM --pred_len 96 --data ETTh1 --root_path FOLDER --llm_tokenizer FOLDER`
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.hf_argparser import HfArg

from benchmarks.cases import CaseConfig, batches_of, build, inference_batch, training_step, width_of
from benchmarks.measuring.apart import run_apart
from benchmarks.measuring.counting import TextWork, multiply_adds
from benchmarks.measuring.machine import describe, matmul_rate
from benchmarks.measuring.memory import memory_of_steps
from benchmarks.measuring.timing import Work, ratio, time_in_turn
from benchmarks.tables import publish
from layers.llm.loading import RANDOM
from models.balm import BALM
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

TRAINING = {
    "BALM": ["plain", "plain_without_dropout", "fp32", "bf16", "frozen_prompt"],
    "CALF": ["plain", "fp32", "bf16"],
    "TimesNet": ["plain", "merged", "cropped", "batch_periods", "fp32"],
    "UniTime": ["plain", "fp32", "bf16"],
    "TimeLLM": ["plain", "plain_without_dropout", "fp32", "kept", "bf16"],
    "TimeCMA": ["plain", "fp32", "kept"],
}
INFERENCE = {
    "BALM": ["plain", "fp32", "bf16"],
    "CALF": ["plain", "fp32", "bf16"],
    "TimesNet": ["plain", "batch_periods", "fp32"],
    "UniTime": ["plain", "fp32", "bf16"],
    "TimeLLM": ["plain", "fp32", "kept"],
    "TimeCMA": ["plain", "fp32", "kept"],
}
MEANING = {
    "plain": "published algorithm, float32",
    "plain_without_dropout": "the same without dropout in the frozen LLM",
    "fp32": "ours, float32, exact",
    "bf16": "ours, LLM in bfloat16",
    "frozen_prompt": "ours, after --freeze_prompt_after (text states kept)",
    "kept": "ours, float32, what the LLM read of a prompt kept (every epoch but the first)",
    "merged": "the same with six kernels as one",
    "cropped": "the same, and the kernel cropped to the image",
    "batch_periods": "ours with --batch_periods: cropped, and equal periods joined",
}


@dataclass(frozen=True)
class StepConfig(CaseConfig):
    """Number of rounds, and whether to measure memory."""

    rounds: int = HfArg(default=7, help="Timed rounds; each runs every way once")
    warmup: int = HfArg(default=2, help="Warm-up rounds")
    memory: bool = HfArg(default=True, help="Also measure peak memory, each way in its own process")
    only: str = HfArg(default="", help="Only measure the peak memory of this way and print it as JSON")
    output: str = HfArg(default="", help="Markdown file to write the tables to")


def main(arguments: Sequence[str]) -> int:
    """Measure and print the tables."""
    (config,) = parse_flags([StepConfig], arguments, belongs_to={}, prog="python -m benchmarks.step")
    if config.only:
        print(json.dumps(memory_of_steps(training_step(config, config.only), torch.device(config.device))))
        return 0
    device = torch.device(config.device)
    rates = {dtype: matmul_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    tables = [_timed(config, "training step", TRAINING[config.model], training_step, rates)]
    tables.append(_timed(config, "inference batch", INFERENCE[config.model], inference_batch, rates))
    if config.memory:
        tables.append(_memory(config, arguments))
    publish(
        f"{config.model}, look-back {config.seq_len}, horizon {config.pred_len}, {config.batch_size} rows, "
        f"{_sizes(config)}",
        describe(device),
        [_notes(config), _rates(rates)],
        tables,
        config.output,
    )
    return 0


def _timed(config: StepConfig, what: str, ways: list[str], make, rates: dict[torch.dtype, float]) -> str:
    works: dict[str, Work] = {way: make(config, way) for way in ways}
    seconds = time_in_turn(works, rounds=config.rounds, warmup=config.warmup, device=torch.device(config.device))
    trains = what == "training step"
    by_formula = config.model == "BALM" and config.llm_model == RANDOM
    counts = _balm_multiply_adds(config) if by_formula and trains else {}
    rows = []
    for way in ways:
        median = statistics.median(seconds[way])
        rate = rates[torch.bfloat16 if way == "bf16" else torch.float32]
        count = counts.get(way) or (multiply_adds(works[way]) if config.model != "BALM" else None)
        rows.append(
            [
                MEANING[way],
                f"{1000 * median:.0f}",
                f"{config.batch_size / median:.1f}",
                f"{ratio(seconds['plain'], seconds[way]):.2f}x",
                f"{count / 1e9:.1f}" if count else "-",
                f"{100 * count / median / rate:.0f} %" if count else "-",
            ]
        )
    return markdown([what, "ms", "rows/s", "against plain", "GMAC", "of the matmul rate"], rows)


def _balm_multiply_adds(config: StepConfig) -> dict[str, float]:
    """Multiply-adds of the text encoder by formula: as published, and with the learnable prompt run once."""
    model = build(config, "fp32")
    assert isinstance(model, BALM)
    lengths = torch.cat([batch.inputs["prompt_lengths"] for batch in batches_of(config, model)]).float()
    work = TextWork(
        rows=config.batch_size,
        tokens=lengths.mean().item(),
        prefix=model.num_states,
        blocks=config.llm_layers,
        width=config.llm_width,
    )
    published, shared = work.published(), work.shared()
    return {"plain": published, "plain_without_dropout": published, "fp32": shared, "bf16": shared}


def _memory(config: StepConfig, arguments: Sequence[str]) -> str:
    found = {
        way: run_apart("benchmarks.step", arguments, way)
        for way in TRAINING[config.model]
        if way != "plain_without_dropout"
    }
    plain = found["plain"]
    rows = [
        [
            MEANING[way],
            f"{value['peak']:.2f}",
            f"{value['peak'] - value['before']:.2f}",
            _share(value["peak"], plain["peak"]),
            _share(value["peak"] - value["before"], plain["peak"] - plain["before"]),
        ]
        for way, value in found.items()
    ]
    header = ["training step", "peak GiB", "of it for the steps", "peak against plain", "steps against plain"]
    return markdown(header, rows)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2f}x" if whole else "-"


def _sizes(config: StepConfig) -> str:
    if config.model == "TimesNet":
        return f"widths {config.d_model} and {config.d_ff}"
    return f"{config.llm_layers} blocks of {width_of(config)}"


def _notes(config: StepConfig) -> str:
    tokenizer = "GPT-2's tokenizer" if config.llm_tokenizer else "the built-in tokenizer"
    llm = f"GPT-2 with random weights, {tokenizer}" if config.llm_model == RANDOM else f"LLM {config.llm_model}"
    weights = f"{llm}, rows of {config.data}"
    if config.model == "TimesNet":
        trained = f"after {config.trained_steps} training steps" if config.trained_steps else "with initial weights"
        weights = f"TimesNet {trained}, rows of {config.data}"
    prompts = {
        "as_trained": "prompts made inside the published step and outside ours",
        "inside": "prompts made inside every step",
        "outside": "prompts made outside every step",
    }[config.prompts]
    return (
        f"{weights}; {prompts}; medians of {config.rounds} rounds, each running every way once; ratios within rounds."
    )


def _rates(rates: dict[torch.dtype, float]) -> str:
    found = ", ".join(
        f"{str(dtype).removeprefix('torch.')} {2 * rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items()
    )
    return f"Matrix products of [1579, 768] x [768, 3072] in this process: {found}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
