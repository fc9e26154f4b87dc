"""The first minutes on a GPU: `python -m benchmarks.gpu smoke|resume|parity|profile|graphs|inference|epoch|memory|all`.

Each part takes less than ten minutes on a GPU, and its page grows with every table that is done. With `--device cpu
--tiny` the same code runs in the tests, and measures nothing.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from transformers.hf_argparser import HfArg

from benchmarks import epoch
from benchmarks.cases import CaseConfig, batches_of, build, inference_batch, step_of, training_step
from benchmarks.gpu_checks import checkpoint_on_both, golden, parity, resume, smoke, waits_in_a_step
from benchmarks.measuring.counting import multiply_adds
from benchmarks.measuring.machine import describe, matmul_rate
from benchmarks.measuring.memory import memory_of_steps
from benchmarks.measuring.profile import profile_of
from benchmarks.measuring.timing import Work, ratio, time_in_turn
from benchmarks.tables import publish
from exp.training.graphs import STEPS_BEFORE, GraphedStep
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

# (a) and (b) are what the others are compared with: as published in float32, and the same compiled in bfloat16.
PUBLISHED, COMPILED = "plain_without_dropout", "plain_without_dropout_compiled_bf16"
WAYS = [PUBLISHED, COMPILED, "transformers", "packed", "transformers_bf16", "packed_bf16", "packed_compiled_bf16"]
TINY = {"llm_layers": 2, "llm_width": 32, "llm_heads": 2, "seq_len": 96, "pred_len": 24, "batch_size": 8}
# Pieces of a page, as they are done.
Pieces = Iterator[str]


@dataclass(frozen=True)
class GPUConfig(CaseConfig):
    """Which sizes, and where the pages go."""

    device: Literal["cpu", "cuda"] = HfArg(default="cuda", help="Device")
    prompts: Literal["as_trained", "inside", "outside"] = HfArg(
        default="outside", help="Whether making the prompts counts (see benchmarks.step)"
    )
    tiny: bool = HfArg(default=False, help="Smallest sizes, to try the command itself: its figures measure nothing")
    golden: str = HfArg(default="", help="Folder of golden files; `parity` then compares with them too")
    output: str | None = HfArg(
        default=None, help="Folder of the pages; default: benchmarks/results on a GPU, else they are only printed"
    )


def main(arguments: Sequence[str]) -> int:
    """Run a part, or all, each in a process of its own; exit code 1 if one failed (the others run all the same)."""
    chosen = [word for word in arguments[:1] if word in PARTS or word == "all"]
    if not chosen:
        print(f"error: name a part first: {', '.join(PARTS)} or all", file=sys.stderr)
        return 2
    (config,) = parse_flags([GPUConfig], arguments[1:], belongs_to={}, prog="python -m benchmarks.gpu PART")
    if config.device == "cuda" and not torch.cuda.is_available():
        print("error: --device cuda is not there; --device cpu --tiny tries the command", file=sys.stderr)
        return 2
    if chosen == ["all"]:
        # An error of a GPU lasts as long as the process, and memory and settings of a part are none of the next.
        codes = [
            subprocess.run([sys.executable, "-m", "benchmarks.gpu", name, *arguments[1:]], check=False)
            for name in PARTS
        ]
        return 1 if any(done.returncode for done in codes) else 0
    config = replace(config, **TINY) if config.tiny else config
    return 0 if _run_part(chosen[0], config) else 1


def _run_part(name: str, config: GPUConfig) -> bool:
    """Run a part and publish its page after every piece. Returns whether it went through."""
    began, went_through = time.perf_counter(), True
    sizes = f"look-back {config.seq_len}, horizon {config.pred_len}, GPT-2 with random weights"
    notes = ["**Tiny sizes: these figures measure nothing.**"] if config.tiny else []
    folder = ("benchmarks/results" if config.device == "cuda" else "") if config.output is None else config.output
    pieces: list[str] = []
    made = PARTS[name](config)
    while True:
        try:
            pieces.append(next(made))
        except StopIteration:
            break
        except Exception as error:
            went_through = False
            pieces.append(f"**Stopped by {type(error).__name__}**: {str(error).splitlines()[0] if str(error) else ''}")
        seconds = f"Took {time.perf_counter() - began:.0f} s so far."
        output = f"{folder}/gpu_{name}_{config.device}.md" if folder else ""
        publish(f"{name}: {sizes}", describe(torch.device(config.device)), [*notes, seconds], pieces, output)
        if not went_through:
            break
    return went_through


def check_runs(config: GPUConfig) -> Pieces:
    """Trial runs of every model."""
    yield from _runs(smoke(config, tiny=config.tiny))


def check_resuming(config: GPUConfig) -> Pieces:
    """A run that fails and goes on, and one whose steps are replayed from CUDA graphs."""
    yield from _runs(resume(config, tiny=config.tiny))


def _runs(tables: Iterator[tuple[str, list[list[str]]]]) -> Pieces:
    # Read once, at the first matrix product: these runs share a process, a run of its own sets it in time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for title, rows in tables:
        yield f"{title}\n\n{markdown(['run', 'result', 's'], rows)}"


def check_numbers(config: GPUConfig) -> Pieces:
    """The device against the CPU, a checkpoint on both, and a step that may not wait."""
    if config.golden:
        notes = "Published numbers of the golden files on this device, each within the tolerance that holds on a CPU."
        header = ["file", "comparisons that hold", "nearest to its tolerance"]
        yield f"{notes}\n\n{markdown(header, golden(config.golden, config.device))}"
    notes = "Largest difference to the CPU in float32, divided by the largest absolute value. TF32 is off."
    yield f"{notes}\n\n{markdown(['model', 'forecast', 'gradient'], parity(config))}"
    yield markdown(["steps in which the host may not wait", "result"], waits_in_a_step(config))
    yield markdown(["one checkpoint on both devices", "largest relative difference"], checkpoint_on_both(config))


def profile(config: GPUConfig) -> Pieces:
    """Training steps of BALM, timed at a small and a large batch, with launches and busy share."""
    device = torch.device(config.device)
    rates = {dtype: matmul_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    rate = ", ".join(f"{str(key).removeprefix('torch.')} {2 * value / 1e12:.1f}" for key, value in rates.items())
    yield f"Matrix products reach {rate} TFLOP/s. Prompts are made {config.prompts} the steps."
    for num_rows in (config.batch_size, 4 * config.batch_size):
        sized = replace(config, batch_size=num_rows)
        works = {way: training_step(sized, way) for way in WAYS}
        yield _timed(f"training step of {num_rows} rows", works, config, rates=rates)


def inference(config: GPUConfig) -> Pieces:
    """Forecasts of a batch, launched one by one and replayed from CUDA graphs."""
    works = {way: inference_batch(config, way) for way in (PUBLISHED, "transformers", "packed", "packed_bf16")}
    if config.device == "cuda":
        works |= {f"{way}, graph": inference_batch(config, way, from_graphs=True) for way in ("packed", "packed_bf16")}
    yield _timed(f"inference of {config.batch_size} rows", works, config)


def graphs(config: GPUConfig) -> Pieces:
    """Training steps replayed from CUDA graphs against the same steps launched one by one."""
    if config.device != "cuda":
        yield "A CPU has no CUDA graphs: only the steps that they are compared with are timed."
    for num_rows in (config.batch_size, 4 * config.batch_size):
        sized = replace(config, batch_size=num_rows)
        works = {way: training_step(sized, way) for way in (PUBLISHED, COMPILED)}
        for way in ("packed", "packed_bf16", "packed_compiled_bf16"):
            works[way] = training_step(sized, way)
            if config.device == "cuda":
                works[f"{way}, graph"] = _graphed_step(sized, way)
        yield _timed(f"training step of {num_rows} rows", works, config)


def epochs(config: GPUConfig) -> Pieces:
    """Short trainings with the library's loop, each way in its own process."""
    short = epoch.EpochConfig(
        **{name: getattr(config, name) for name in CaseConfig.__dataclass_fields__},
        train_epochs=2,
        percent=2 if config.tiny else 100,
        validation_batches=2 if config.tiny else 100,
    )
    header = ["way", "training 1, s", "training 2, s", "validation 1, s", "validation 2, s"]
    ways = [("bf16", False), ("fp32", False), ("frozen_prompt", False)]
    if config.device == "cuda":
        ways = [("packed_compiled_bf16", True), ("bf16", True), *ways]
    rows, seconds = epoch.prompts_alone(short)
    yield (
        f"{short.percent} % of the training rows of {config.data}. Their {rows:,} prompts alone take {seconds:.1f} s "
        "of one CPU thread; the first epoch makes them beside its steps, the second finds them kept: steps alone."
    )
    for way, cuda_graph in ways[:1] if config.tiny else ways:
        found = epoch.train_here(short, way, cuda_graph=cuda_graph)
        validation = [whole - part for whole, part in zip(found["seconds"], found["training"], strict=True)]
        label = f"{way}, graph" if cuda_graph else way
        yield markdown(header, [[label, *(f"{value:.1f}" for value in [*found["training"], *validation])]])


def memory(config: GPUConfig) -> Pieces:
    """Peak memory of training steps and of inference."""
    device = torch.device(config.device)
    for what, make in (("training step", training_step), ("inference", inference_batch)):
        rows = []
        for way in ("transformers", "packed", "transformers_bf16", "packed_bf16"):
            gc.collect()
            found = memory_of_steps(make(config, way), device)
            rows.append([way, *(f"{1024 * found[name]:.1f}" for name in ("before", "peak"))])
        title = f"{what} of {config.batch_size} rows (all ways in one process)"
        yield markdown([title, "before, MiB", "peak, MiB"], rows)


def _timed(
    title: str, works: dict[str, Work], config: GPUConfig, *, rates: dict[torch.dtype, float] | None = None
) -> str:
    """A table with the time of each way, and how many times faster than the first ways it is.

    With the `rates` of matrix products in multiply-adds a second, it has launches, busy share and share of that rate
    too.
    """
    device = torch.device(config.device)
    rounds = 1 if config.tiny else 7
    seconds = time_in_turn(works, rounds=rounds, warmup=1, times=1 if config.tiny else 4, device=device)
    compared = [way for way in (PUBLISHED, COMPILED) if way in works] or list(works)[:1]
    rows = []
    for way, work in works.items():
        best = min(seconds[way])
        faster = [f"{ratio(seconds[other], seconds[way]):.2f}x" for other in compared]
        further = [] if rates is None else _further(way, work, best, device, rates)
        rows.append([way, f"{1000 * best:.2f}", *faster, *further])
    more = ["launches", "busy", "GMAC", "of the matmul rate"] if rates is not None else []
    return markdown([title, "ms", *(f"against {other}" for other in compared), *more], rows)


def _further(way: str, work: Work, seconds: float, device: torch.device, rates: dict[torch.dtype, float]) -> list[str]:
    """Launches, busy share, multiply-adds (not counted within compiled code) and their share of the rate."""
    found = profile_of(work, device)
    columns = [str(found.launches), f"{100 * found.busy:.0f} %"]
    if "compiled" in way:
        return [*columns, "-", "-"]
    count = multiply_adds(work)
    rate = rates[torch.bfloat16 if way.endswith("bf16") else torch.float32]
    return [*columns, f"{count / 1e9:.1f}", f"{100 * count / seconds / rate:.0f} %"]


def _graphed_step(config: GPUConfig, way: str) -> Work:
    """A step on one batch, whose graph is recorded before it is timed."""
    model = build(config, way).train()
    batch = batches_of(config, model)[0]
    step = GraphedStep(step_of(model, config, way), len(batch.rows))
    for _ in range(STEPS_BEFORE + 1):
        step(batch)
    return lambda: step(batch)


PARTS: dict[str, Callable[[GPUConfig], Pieces]] = {
    "smoke": check_runs,
    "resume": check_resuming,
    "parity": check_numbers,
    "profile": profile,
    "graphs": graphs,
    "inference": inference,
    "epoch": epochs,
    "memory": memory,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
