"""Parameters, memory and speed of models: `python -m exp.efficiency --models BALM CALF --data ETTm1 --pred_len 96`.

Measures total, trained and inference parameters, memory at inference and seconds per iteration, on a GPU if there is
one. Further flags of run.py go to every model that has them, such as `--batch_size 32` or `--llm_model random` (the
same shapes as the pretrained LLM, without a download). Each model is measured in its own process.
"""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from data_provider.batches.loader import Loader
from data_provider.windows import Batch
from exp.command_line import COMMON, parse_command
from exp.exp_long_term_forecast import LongTermForecast
from exp.training.evaluation import forecast_batch
from exp.training.memory import held_bytes, recent_peak_bytes, reset_peak
from exp.training.runtime import cpu_name
from exp.training.step import TrainingStep, loss_of
from models import model_class
from utils.files import replace_file
from utils.flags.parsing import flag_names
from utils.report.comparison_tables import published_efficiency
from utils.report.table import Cell, Table, bytes_text, count_text, figures_text, to_markdown
from utils.terminal import one_line, printable

WARM_UP = 2
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Efficiency:
    """Measurements of one model: memory in bytes, median seconds per iteration (training None if nothing is trained).

    `memory` is the peak during inference: on a GPU as allocated by torch, on a CPU the growth of the process since
    before the model was built.
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


def arguments_of_models(models: Sequence[str], words: Sequence[str]) -> dict[str, list[str]]:
    """Model -> the flags of `words` that it has. Raises ValueError for a flag that no model has."""
    flags: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            flags.append([word])
        elif flags:
            flags[-1].append(word)
        else:
            raise ValueError(f"{word} stands before any flag")
    known = {model: flag_names([*COMMON, model_class(model).Config]) for model in models}
    unknown = [words[0] for words in flags if not any(_name(words) in names for names in known.values())]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no flag of {', '.join(models)}")
    return {
        model: ["--model", model, *(word for words in flags if _name(words) in names for word in words)]
        for model, names in known.items()
    }


def measure(arguments: Sequence[str], num_iterations: int) -> Efficiency:
    """Measure the model of `arguments` (the flags of run.py); call it in a new process.

    Inference is timed on new rows of the test split, so that prompts and cached features count. Training is timed over
    whole steps with Adam. Raises ValueError and FileNotFoundError as run.py does.
    """
    before = held_bytes(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        experiment = LongTermForecast(parse_command([*arguments, "--output_dir", folder]))
    runtime, model, test = experiment.runtime, experiment.model, experiment.test
    model.eval()
    reset_peak(runtime.device)
    seconds, num_rows = _seconds_per_iteration(
        test, lambda batch: forecast_batch(runtime, model, test.windows, batch), num_iterations
    )
    on_gpu = runtime.device.type == "cuda"
    channels = experiment.series.num_channels if model.channel_independent else 1
    return Efficiency(
        model=experiment.settings.model_name,
        **model.count_parameters(),
        rows=num_rows,
        windows=num_rows / channels,
        memory=max(0, recent_peak_bytes(runtime.device) - (0 if on_gpu else before)),
        seconds=seconds,
        training_seconds=_training_seconds(experiment, num_iterations),
        device=torch.cuda.get_device_name(runtime.device) if on_gpu else cpu_name(),
        precision=experiment.settings.train.precision,
    )


def _training_seconds(experiment: LongTermForecast, num_iterations: int) -> float | None:
    runtime, model, loader = experiment.runtime, experiment.model, experiment.train
    groups = [group for group in model.parameter_groups(LEARNING_RATE) if group["params"]]
    if not groups:
        return None
    wrapped = runtime.wrap(model)
    wrapped.train()
    step = TrainingStep(
        model,
        torch.optim.Adam(groups),
        loss_of(model),
        forward=wrapped,
        keep_targets=loader.windows.keep_targets,
        backward=runtime.backward,
    )
    return _seconds_per_iteration(loader, step, num_iterations)[0]


def _seconds_per_iteration(loader: Loader, work: Callable[[Batch], object], num_iterations: int) -> tuple[float, int]:
    """Median seconds per batch, loading included, and rows in a batch."""
    times, num_rows = [], 0
    began = time.perf_counter()
    for batch in loader.first_steps(WARM_UP + num_iterations):
        work(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - began)
        began, num_rows = now, max(num_rows, len(batch.rows))
    # A short split may have fewer batches than the warm-up.
    return statistics.median(times[WARM_UP:] or times), num_rows


def efficiency_table(found: Sequence[Efficiency], title: str) -> Table:
    """A row per model with the columns of Table 3 of the BALM-TSF paper and a few more."""
    rows = []
    for entry in found:
        training = "-" if entry.training_seconds is None else _seconds(entry.training_seconds)
        texts = [
            *(count_text(entry.total), count_text(entry.trainable), count_text(entry.inference)),
            *(f"{100 * entry.trainable / entry.total:.2f} %" if entry.total else "-", bytes_text(entry.memory)),
            *(_seconds(entry.seconds), training, str(entry.rows), figures_text(1000 * entry.seconds / entry.windows)),
        ]
        rows.append(([entry.model], [Cell(text) for text in texts]))
    columns = [("parameters", part) for part in ("total", "trained", "at inference", "share trained")]
    columns += [("inference", "memory"), ("inference", "s/iteration"), ("training", "s/iteration")]
    columns += [("batch", "rows"), ("inference", "ms/window")]
    devices = ", ".join(sorted({f"{entry.device}, {entry.precision}" for entry in found}))
    notes = [
        f"Measured on {devices}: medians after warm-up. Memory: on a CPU the growth of the process, on a GPU what "
        "torch allocated.",
        "A row is one channel of a window for a channel-independent model, else a whole window; ms/window is for all "
        "channels, so it compares models of both kinds.",
    ]
    return Table(title, ["model"], columns, rows, notes)


def published_table(data: str, pred_len: int) -> Table | None:
    """Published figures for the same data set and horizon; None if there are none."""
    found = published_efficiency()
    found = found[(found["dataset"] == data) & (found["pred_len"] == str(pred_len))]
    found = found[found["total_params_millions"] != ""]
    rows, sources = [], []
    for _, entry in found.iterrows():
        total, trained = float(entry["total_params_millions"]), float(entry["trainable_params_millions"])
        memory, seconds = entry["inference_gpu_memory_mib"] or "-", entry["inference_seconds_per_iteration"] or "-"
        texts = [f"{total:.2f} M", f"{trained:.2f} M", f"{100 * trained / total:.2f} %", f"{memory} MiB", seconds]
        rows.append(([entry["model"]], [Cell(text) for text in texts]))
        sources.append(f"Source: {entry['source']}; hardware: {entry['hardware'] or 'not said'}.")
    columns = [("parameters", part) for part in ("total", "trained", "share trained")]
    columns += [("inference", "GPU memory"), ("inference", "s/iteration")]
    notes = list(dict.fromkeys(sources))
    return Table(f"Published: {data}, horizon {pred_len}", ["model"], columns, rows, notes) if rows else None


def _name(words: Sequence[str]) -> str:
    return words[0].partition("=")[0].removeprefix("--").replace("-", "_")


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 1 else figures_text(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m exp.efficiency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--models", nargs="+", required=True, help="names as for --model of run.py")
    parser.add_argument("--data", default="ETTm1", help="data set (default: ETTm1)")
    parser.add_argument("--pred_len", type=int, default=96, help="horizon, in time steps (default: 96)")
    parser.add_argument("--iterations", type=int, default=20, help="timed iterations per model (default: 20)")
    parser.add_argument("--output", type=Path, help="folder for efficiency.csv and efficiency.md")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit code: 0, or 2 for invalid input."""
    options, words = _parser().parse_known_args(arguments)
    task = ["--data", options.data, "--pred_len", str(options.pred_len)]
    found = []
    try:
        if options.iterations < 1:
            raise ValueError(f"--iterations must be at least 1, got {options.iterations}")
        # A new process per model: no memory or cache is left from the one before.
        spawn = multiprocessing.get_context("spawn")
        for model, flags in arguments_of_models(options.models, words).items():
            print(f"measuring {model}", file=sys.stderr, flush=True)
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                found.append(process.submit(measure, [*flags, *task], options.iterations).result())
    except BrokenPipeError:  # `| head`
        raise
    except (ValueError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    tables = [efficiency_table(found, f"Cost on {options.data}, horizon {options.pred_len}")]
    tables += [table for table in [published_table(options.data, options.pred_len)] if table]
    text = "\n".join(map(to_markdown, tables))
    print(printable(text))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        replace_file(options.output / "efficiency.md", text.encode())
        frame = pd.DataFrame([asdict(entry) for entry in found])
        replace_file(options.output / "efficiency.csv", frame.to_csv(index=False).encode())
    return 0


if __name__ == "__main__":
    exit_with(run_tool(main))
