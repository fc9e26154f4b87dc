"""Tiny runs in this process and in others that can be killed, and what two runs of the same flags must share."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from utils.checkpoint import load_checkpoint

SEQ_LEN, PRED_LEN = 96, 24
TINY_LLM = ["--llm_model", "random", "--llm_layers", "1", "--llm_width", "48", "--llm_heads", "4"]
MODELS = {
    "DLinear": [],
    "BALM": [*TINY_LLM, "--d_ff", "8", "--d_model", "8", "--dropout", "0.2"],
    "CALF": [*TINY_LLM, "--num_components", "8"],
    "TimeLLM": [*TINY_LLM, "--d_ff", "8", "--d_model", "8", "--n_heads", "2", "--num_prototypes", "10"],
    "TimeCMA": [*TINY_LLM, "--d_model", "8", "--n_heads", "2", "--feed_forward", "16", "--prompt_len", "8"],
    "TimesNet": ["--d_model", "4", "--d_ff", "4"],
    "UniTime": [*TINY_LLM, "--decoder_layers", "1"],
}
# The learnable prompt is frozen after an epoch, and the memory holds the states of some rows only.
MODELS["BALM frozen"] = [*MODELS["BALM"], "--freeze_prompt_after", "1", "--row_memory_mb", "1"]
# What depends on the clock, the machine's memory or how often a run was interrupted.
NOT_THE_RESULT = ("sha256", "seconds", "rows_per_second", "seconds_per_step", "peak_memory_bytes")


def write_table(path: Path, *, num_rows: int = 330, seed: int = 0) -> Path:
    """Two noisy daily waves, hourly, as a CSV file."""
    generator = np.random.default_rng(seed)
    time = np.arange(num_rows)
    waves = np.stack([np.sin(2 * np.pi * (time + 5 * channel) / 24) for channel in range(2)], axis=1)
    table = pd.DataFrame(waves + generator.normal(0, 0.3, waves.shape), columns=["A", "B"])
    table.insert(0, "date", pd.date_range("2024-01-01", periods=num_rows, freq="h"))
    table.to_csv(path, index=False)
    return path


def flags(folder: Path, *more: str, model: str = "DLinear", output: str = "results") -> list[str]:
    """The command of a tiny run whose results lie in `folder/output`; its table is made once."""
    table = folder / "table.csv"
    if not table.exists():
        write_table(table)
    return [
        "--model", model.split()[0], *MODELS[model], "--data", "custom", "--data_path", str(table),
        "--seq_len", str(SEQ_LEN), "--pred_len", str(PRED_LEN), "--batch_size", "16", "--train_epochs", "3",
        "--learning_rate", "0.01",
        "--device", "cpu", "--output_dir", str(folder / output), *more,
    ]  # fmt: skip


def run_here(arguments: list[str]) -> int:
    """The command in this process; returns its exit code."""
    import run

    return run.main(arguments)


def run_folder(folder: Path, output: str = "results") -> Path:
    """The only run folder in `folder/output`."""
    (found,) = (folder / output).iterdir()
    return found


def result(folder: Path) -> dict[str, Any]:
    """All that two runs of the same flags must share, bit for bit."""
    metrics = json.loads((folder / "metrics.json").read_text())
    weights, header = load_checkpoint(folder / "checkpoint" / "best.safetensors")
    return {
        "metrics": {name: value for name, value in metrics.items() if name not in NOT_THE_RESULT},
        "history": (folder / "history.jsonl").read_text(),
        "best epoch": header["epoch"],
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
    }


def start(
    arguments: list[str],
    log: Path,
    sabotage: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """The command in a process of its own, its words in `log`; `sabotage` is done there first.

    A server that has imported everything forks it, so that a start takes no seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.exp.preload"])
    process = context.Process(target=_main, args=(arguments, str(log), sabotage, dict(environment or {})))
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 120) -> int:
    """The exit code; negative for the signal that ended it."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"the run did not end within {seconds} s")
    assert process.exitcode is not None
    return process.exitcode


def _main(arguments: list[str], log: str, sabotage: Callable[[], None] | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sabotage is not None:
        sabotage()
    sys.exit(run_here(arguments))


def die_at_write(number: int, *, renamed: bool) -> Callable[[], None]:
    """Kills the process at its `number`-th file, either half-written beside its place or just renamed into it."""
    return functools.partial(_die_at_write, number, renamed)


def _die_at_write(number: int, renamed: bool) -> None:
    import utils.files

    original, count = utils.files.os.fsync, [0]
    replace = Path.replace

    def fsync(handle: int) -> None:
        count[0] += 1
        if count[0] == number and not renamed:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        original(handle)

    def replace_and_die(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        if count[0] == number and renamed:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    os.fsync = fsync
    Path.replace = replace_and_die  # pyright: ignore[reportAttributeAccessIssue]


def stop_at_step(number_of_step: int, number: int) -> Callable[[], None]:
    """Sends the process a signal while it is in this step (from 1) of the first epoch."""
    return functools.partial(_stop_at_step, number_of_step, number)


def _stop_at_step(number_of_step: int, number: int) -> None:
    from exp.training.runtime import Runtime

    original = Runtime.seed_step

    def seed_step(self: Runtime, epoch: int, step: int) -> None:
        if (epoch, step) == (0, number_of_step - 1):
            os.kill(os.getpid(), number)
        original(self, epoch, step)

    Runtime.seed_step = seed_step
