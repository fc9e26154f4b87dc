"""What each of two processes finds, as JSON: `torchrun -m tests.exp.training.two_processes FOLDER`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import run
from exp.command_line import parse_command
from exp.exp_long_term_forecast import LongTermForecast
from exp.training import processes
from exp.training.loop import TrainingLoop
from exp.training.runtime import Runtime
from tests.exp.runs import flags
from utils.files import locked
from utils.run_folder import RunFolder

WITHOUT_DROPOUT = ["--dropout", "0", "--alignment_weight", "0"]
BATCH = ["--batch_size", "8"]
CLOSED: list[bool] = []


def experiment(arguments: list[str]) -> LongTermForecast:
    """The experiment of a command, with the training loop as `fit` would begin it in `loop`."""
    settings = parse_command(arguments)
    return LongTermForecast(settings.with_seed(settings.train.seed))


def with_negatives(folder: Path, *more: str) -> list[str]:
    """A run that contrasts the rows of all processes, without dropout."""
    return flags(folder, *more, "--dropout", "0", "--gather_negatives", model="BALM")


def loop_of(built: LongTermForecast) -> TrainingLoop:
    """The training loop of an experiment."""
    return TrainingLoop(
        built.runtime, built.model, built.settings.train, loader=built.train, validate=built._validate,
        folder=built.folder, tracking=built.tracking, header={},
    )  # fmt: skip


def gradients(arguments: list[str], *, step: int) -> dict[str, list[float]]:
    """Gradients of the global batch number `step` of the first epoch at the initial weights."""
    built = experiment(arguments)
    loop = loop_of(built)
    loop.wrapped.train()
    loop.state.optimizer.step = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    loop.step(next(loop.loader.epoch(0, first_step=step)))
    return {
        name: parameter.grad.flatten().tolist()
        for name, parameter in built.model.named_parameters()
        if parameter.grad is not None
    }


def rows_seen(arguments: list[str]) -> dict[str, list[int]]:
    """The rows that this process is given in a pass over each split."""
    built = experiment(arguments)
    loaders = {"train": built.train, "validation": built.validation, "test": built.test}
    return {name: [row for batch in loader for row in batch.rows.tolist()] for name, loader in loaders.items()}


def run_and_listen(arguments: list[str]) -> dict[str, Any]:
    """Exit code, what this process wrote to both streams by `print`, and whether it closed its connections."""
    before = len(CLOSED)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run.main(arguments)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "closed": len(CLOSED) > before}


def stopped_and_continued(folder: Path, rank: int) -> list[dict[str, Any]]:
    """A stop request that reaches only the second process, in the middle of an epoch, and the run after it."""
    command = flags(folder, *BATCH, "--checkpoint_steps", "2", model="BALM", output="stopped")
    original = Runtime.seed_step

    def seed_step(self: Runtime, epoch: int, step: int) -> None:
        if rank == 1 and (epoch, step) == (1, 4):
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, epoch, step)

    Runtime.seed_step = seed_step
    first = run_and_listen(command)
    Runtime.seed_step = original
    return [first, run_and_listen(command)]


def lock_is_taken(folder: Path, rank: int) -> dict[str, Any]:
    """A folder that another process holds: the first process is told so."""
    command = flags(folder, *BATCH, "--des", "taken", output="taken")
    path = experiment(command).folder.path
    with contextlib.ExitStack() as held:
        if rank == 0:
            path.mkdir(parents=True)
            held.enter_context(locked(RunFolder(path).lock))
        return run_and_listen(command)


def full_disk(folder: Path, rank: int) -> dict[str, Any]:
    """The first process cannot write its checkpoint."""
    original = os.fsync

    def fsync(handle: int) -> None:
        if rank == 0 and "safetensors" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(28, "No space left on device")
        original(handle)

    os.fsync = fsync
    found = run_and_listen(flags(folder, *BATCH, output="full"))
    os.fsync = original
    return found


def buffers_after_training(folder: Path) -> dict[str, list[float]]:
    """PatchTST's running statistics after a run."""
    kept: list[torch.nn.Module] = []
    original = LongTermForecast._train_and_test

    def remember(self: LongTermForecast) -> dict[str, Any]:
        kept.append(self.model)
        return original(self)

    LongTermForecast._train_and_test = remember
    command = flags(folder, *BATCH, "--fast_dev_run", output="patchtst")
    command[command.index("--model") + 1] = "PatchTST"
    assert run.main([*command, "--d_model", "8", "--n_heads", "2", "--d_ff", "8", "--e_layers", "1"]) == 0
    LongTermForecast._train_and_test = original
    return {name: value.flatten().tolist() for name, value in kept[0].named_buffers()}


def writes_of(arguments: list[str]) -> list[str]:
    """The files that this process opens for writing during a run."""
    opened: list[str] = []
    active = [True]

    def note(event: str, details: tuple) -> None:
        if active[0] and event == "open" and isinstance(details[0], str | os.PathLike):
            mode, bits = details[1], details[2]
            if (mode and set(mode) & set("wax+")) or (isinstance(bits, int) and bits & (os.O_WRONLY | os.O_RDWR)):
                opened.append(str(details[0]))

    sys.addaudithook(note)
    assert run.main(arguments) == 0
    active[0] = False
    return [path for path in opened if "results" in path]


def findings(folder: Path, rank: int) -> dict[str, Any]:
    """Everything, in an order that both processes keep."""
    balm = flags(folder, *BATCH, *WITHOUT_DROPOUT, model="BALM")
    found: dict[str, Any] = {
        "gradients": {str(step): gradients(balm, step=step) for step in (0, 11)},
        "gathered": {str(step): gradients(with_negatives(folder, *BATCH), step=step) for step in (0, 11)},
        "rows": rows_seen(balm),
        "written": writes_of(flags(folder, *BATCH, output="results")),
        "balm": run_and_listen(flags(folder, *BATCH, *WITHOUT_DROPOUT, model="BALM", output="balm")),
        "frozen prompt": run_and_listen(
            flags(folder, *BATCH, "--freeze_prompt_after", "1", model="BALM", output="frozen")
        ),
        "undisturbed": run_and_listen(
            flags(folder, *BATCH, "--checkpoint_steps", "2", model="BALM", output="undisturbed")
        ),
        "stopped": stopped_and_continued(folder, rank),
        "taken": lock_is_taken(folder, rank),
        "full": full_disk(folder, rank),
        "apart": run_and_listen(flags(folder, *BATCH, output=f"apart{rank}")),
        "buffers": buffers_after_training(folder),
        "finished": run_and_listen(flags(folder, *BATCH, output="results")),
        "wrong flag": run_and_listen(flags(folder, "--nonsense", "1")),
    }
    return found


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    # One pair of processes makes all the runs.
    close, processes.close_processes = processes.close_processes, lambda: CLOSED.append(True)
    found = findings(folder, rank)
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    close()


if __name__ == "__main__":
    main()
