"""Training state: everything that a checkpoint saves and resume restores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exp.training.processes import gather
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.checkpoint import (
    load_checkpoint,
    mismatched_checkpoint,
    optimizer_state,
    pack,
    restore_optimizer,
    save_checkpoint,
    unpack,
)
from utils.files import keep_previous
from utils.schedules import EarlyStopping, Schedule
from utils.schemas.checking import checked
from utils.schemas.headers import LastHeader

ROWS = "number of rows"


@dataclass
class Progress:
    """Epochs done, steps done in the current epoch, and the history of both.

    `sums` (of each loss over rows) and `rows` belong to the current epoch on this rank; `total_steps`, `total_rows` and
    `seconds` to the whole training on all ranks.
    """

    epoch: int = 0
    step: int = 0
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    total_steps: int = 0
    total_rows: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Training speed in the last finished epoch."""
        before = self.timing[-2] if len(self.timing) > 1 else {"rows": 0, "seconds": 0.0}
        last = self.timing[-1]
        return (last["rows"] - before["rows"]) / max(last["seconds"] - before["seconds"], 1e-9)

    def count_step(self, num_rows: int, num_global_rows: int) -> None:
        """Count a training step with its rows on this rank and on all ranks."""
        self.step += 1
        self.total_steps += 1
        self.rows += num_rows
        self.total_rows += num_global_rows

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Start the next epoch, after adding `record` (losses and errors of this one) to the history."""
        self.epoch += 1
        self.history.append(record)
        self.timing.append({"epoch": self.epoch, "seconds": self.seconds, "rows": self.total_rows})
        self.step, self.rows, self.sums = 0, 0, {}


@dataclass
class TrainingState:
    """Everything that changes during training; random generators do not belong to it, since each step is seeded."""

    model: Forecaster
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    stopping: EarlyStopping
    progress: Progress = field(default_factory=Progress)

    @property
    def is_between_epochs(self) -> bool:
        """Whether training is between two epochs."""
        return self.progress.step == 0

    @property
    def best_is_now(self) -> bool:
        """Whether the epoch just finished is the best so far."""
        return self.is_between_epochs and self.progress.epoch > 0 and self.stopping.best_epoch == self.progress.epoch

    def __post_init__(self) -> None:
        self._first = optimizer_state(self.optimizer), self.schedule.state()
        # A buffer may hold infinities from the start, such as an attention mask.
        self.never_finite = {name for name, tensor in self.model.saved_state().items() if not _is_finite(tensor)}

    def save(self, path: Path, runtime: Runtime, header: dict[str, Any], *, previous: Path | None = None) -> None:
        """Write a checkpoint on rank 0, after naming the one that lies there `previous`.

        Raises FloatingPointError before writing if a weight is not finite.
        """
        own = gather({**self.progress.sums, ROWS: float(self.progress.rows)})
        runtime.share_buffers(self.model)
        runtime.on_main(lambda: self._write(path, header, own, previous))

    def restore(self, path: Path, runtime: Runtime, *, run_id: str | None = None) -> None:
        """Restore what `save` wrote, on all ranks.

        Raises FileNotFoundError, or DamagedFile if it does not fit this model and its flags or is of another run.
        """
        runtime.run_on_all_ranks(lambda: self._read(path, runtime, run_id))

    def reset(self) -> None:
        """Go back to the start of the training (but for the weights)."""
        (tensors, groups), schedule = self._first
        restore_optimizer(self.optimizer, tensors, groups)
        self.schedule.restore(schedule)
        self.progress, self.stopping = Progress(), EarlyStopping(self.stopping.patience)

    def _write(self, path: Path, header: dict[str, Any], own: list[dict[str, float]], previous: Path | None) -> None:
        model = self.model.saved_state()
        _check_finite({name: tensor for name, tensor in model.items() if name not in self.never_finite})
        tensors, groups = optimizer_state(self.optimizer)
        state = {
            "progress": {**asdict(self.progress), "sums": {}, "rows": 0},
            "own": own,
            "stopping": asdict(self.stopping),
            "schedule": self.schedule.state(),
            "groups": groups,
        }
        if previous is not None:
            keep_previous(path, previous)
        save_checkpoint(path, {**pack("model", model), **pack("optimizer", tensors)}, {**header, "state": state})

    def _read(self, path: Path, runtime: Runtime, run_id: str | None) -> None:
        tensors, state = read_state(path, run_id=run_id)
        with _errors_naming(path):
            own = dict(state["own"][runtime.rank])
            progress = Progress(**{**state["progress"], "rows": int(own.pop(ROWS)), "sums": own})
            stopping = EarlyStopping(**state["stopping"])
            if stopping.best_epoch > progress.epoch:
                raise ValueError(f"its best epoch is {stopping.best_epoch}, after {progress.epoch} epochs")
            if len(progress.history) != progress.epoch or len(progress.timing) != progress.epoch:
                raise ValueError(f"its history has {len(progress.history)} epochs of {progress.epoch}")
            self.model.load_saved_state(unpack("model", tensors))
            restore_optimizer(self.optimizer, unpack("optimizer", tensors), state["groups"])
            self.schedule.restore(state["schedule"])
        self.progress, self.stopping = progress, stopping


def read_state(path: Path, *, run_id: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a training in the file of `TrainingState.save`. Raises DamagedFile and FileNotFoundError."""
    tensors, header = load_checkpoint(path, run_id=run_id)
    state = checked(header, LastHeader, path)["state"]
    return tensors, state


def load_weights(path: Path, model: Forecaster, *, run_id: str | None = None) -> dict[str, Any]:
    """Load a checkpoint's weights into `model` and return its header. Raises DamagedFile if they do not fit."""
    tensors, header = load_checkpoint(path, run_id=run_id)
    with _errors_naming(path):
        model.load_saved_state(unpack("model", tensors))
    return header


def _check_finite(tensors: dict[str, Tensor]) -> None:
    """Raise FloatingPointError if a weight is not finite."""
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise FloatingPointError(
                f"{name} is no longer finite although the loss was: lower --learning_rate; the last good state is kept "
                "in the run folder"
            )


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Turn errors from a checkpoint of another model or other flags into a DamagedFile that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError) as error:
        raise mismatched_checkpoint(path, error) from error
