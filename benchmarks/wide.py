"""Peak memory of training and evaluation on data with many channels, at full model size.

`python -m benchmarks.wide --model CALF --seq_len 96 --shapes 52696x21 26304x321 17544x862 --batch_sizes 64 32 8`
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers.hf_argparser import HfArg

from benchmarks.cases import SEED, CaseConfig, build, synthetic_data
from benchmarks.measuring.apart import run_apart
from benchmarks.measuring.machine import describe
from benchmarks.measuring.memory import GIB
from benchmarks.measuring.training import ShortTraining
from benchmarks.tables import publish
from exp.config import TrainConfig
from exp.training.memory import held_bytes, recent_peak_bytes, reset_peak
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

COLUMNS = {
    "data": "the data, GiB",
    "built": "before the first step",
    "trained": "training peak",
    "evaluated": "evaluation peak",
    "longer": "four times as long",
}


@dataclass(frozen=True)
class WideConfig(CaseConfig):
    """Data shapes and number of steps."""

    shapes: list[str] = HfArg(
        default_factory=lambda: ["52696x21", "26304x321", "17544x862"],
        help="Rows x channels of each synthetic table (made by the demo set's generator)",
    )
    batch_sizes: list[int] = HfArg(
        default_factory=list, help="Rows per step for each shape; default: --batch_size for all"
    )
    precision: Literal["fp32", "bf16"] = HfArg(default="fp32", help="Precision of the large matrix products")
    training_steps: int = HfArg(default=3, help="Number of training steps")
    evaluation_steps: int = HfArg(default=4, help="Number of evaluation batches; a second pass has four times as many")
    only: str = HfArg(default="", help="Only measure the shape with this index and print it as JSON")
    output: str = HfArg(default="", help="Markdown file to write the table to")

    def __post_init__(self) -> None:
        if self.batch_sizes and len(self.batch_sizes) != len(self.shapes):
            raise ValueError(f"--batch_sizes needs one number for each of the {len(self.shapes)} --shapes")
        for shape in self.shapes:
            rows, _, channels = shape.partition("x")
            if not (rows.isdigit() and channels.isdigit() and int(channels) > 0):
                raise ValueError(f"--shapes must be ROWSxCHANNELS such as 17544x862, got {shape}")


def main(arguments: Sequence[str]) -> int:
    """Measure each shape in its own process and print a table."""
    (config,) = parse_flags([WideConfig], arguments, belongs_to={}, prog="python -m benchmarks.wide")
    if config.only:
        print(json.dumps(measure_here(config, int(config.only))))
        return 0
    found = [run_apart("benchmarks.wide", arguments, str(number)) for number in range(len(config.shapes))]
    rows = [
        [
            shape.replace("x", " x "),
            str(measured["batch_size"]),
            *(f"{measured[name]:.2f}" for name in COLUMNS),
            f"{measured['peak'] - measured['data']:.2f}",
        ]
        for shape, measured in zip(config.shapes, found, strict=True)
    ]
    publish(
        f"{config.model}, look-back {config.seq_len}, horizon {config.pred_len}, {config.precision}: memory by shape",
        describe(torch.device(config.device)),
        [_notes(config)],
        [markdown(["rows x channels", "batch", *COLUMNS.values(), "peak beyond the data"], rows)],
        config.output,
    )
    return 0


def measure_here(config: WideConfig, number: int) -> dict[str, Any]:
    """Memory in GiB (GPU: as counted by torch): the data, before the first step, and the peaks."""
    device = torch.device(config.device)
    rows, channels = (int(size) for size in config.shapes[number].split("x"))
    batch_size = config.batch_sizes[number] if config.batch_sizes else config.batch_size
    train = TrainConfig(
        batch_size=batch_size,
        eval_batch_size=batch_size,
        train_epochs=1,
        seed=SEED,
        precision=config.precision,
        device="auto" if config.device == "cuda" else "cpu",
    )
    with tempfile.TemporaryDirectory() as place:
        data = synthetic_data(config, Path(place), rows, channels)
        work = ShortTraining(build(replace(config, batch_size=batch_size), config.precision), data, train)
    found = {"batch_size": batch_size, "data": work.series.values.nbytes / GIB, "built": held_bytes(device) / GIB}
    training = work.loader("train").first_steps(config.training_steps)
    reset_peak(device)

    def note_training() -> None:
        found["trained"] = recent_peak_bytes(device) / GIB
        reset_peak(device)

    work.fit(training, work.loader("validation").first_steps(1), trained=note_training)
    test = work.loader("test")
    for name, steps in (("evaluated", config.evaluation_steps), ("longer", 4 * config.evaluation_steps)):
        reset_peak(device)
        work.errors(test.first_steps(steps))
        found[name] = recent_peak_bytes(device) / GIB
    return {**found, "peak": max(found[name] for name in ("trained", "evaluated", "longer"))}


def _notes(config: WideConfig) -> str:
    held = "GPU memory as counted by torch" if config.device == "cuda" else "Resident memory of the whole process"
    return (
        f"Synthetic tables; GPT-2 with random weights, {config.llm_layers} blocks of {config.llm_width}. {held}, in "
        "GiB, including interpreter, packages, weights and memory that the allocator has not returned: "
        f"{config.training_steps} training steps through the library's loop, then {config.evaluation_steps} and "
        f"{4 * config.evaluation_steps} evaluation batches of the same rows. Cached prompts and text states add "
        "at most --row_memory_mb (2 GiB by default) in a long run."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
