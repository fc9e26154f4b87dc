"""Where a training stands, as one value that can be written to a checkpoint and put back from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from exp.training.loss_guard import check_weights
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.checkpoint import (
    damaged_checkpoint,
    load_checkpoint,
    optimizer_state,
    pack,
    restore_optimizer,
    save_checkpoint,
    unpack,
)
from utils.early_stopping import EarlyStopping
from utils.records import check_alike
from utils.schedules import Schedule

ROWS = "number of rows"


@dataclass
class Progress:
    """Epochs done, steps of the next one, and what was recorded; `sums` and `rows` are those of this process."""

    epoch: int = 0
    step: int = 0
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    total_steps: int = 0
    total_rows: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Progress:
        """The progress that `asdict` described; a ValueError says what cannot be."""
        history, timing = record["history"], record["timing"]
        check_alike({**record, "history": [], "timing": []}, asdict(cls()), "progress")
        check_alike(timing, [{"epoch": 1, "seconds": 1.0, "rows": 1}] * record["epoch"], "timing")
        check_alike([entry["epoch"] for entry in history], [1] * record["epoch"], "history")
        for entry in history:
            errors = {kind: dict.fromkeys(entry[kind], 1.0) for kind in ("train", "validation")}
            check_alike(entry, {"epoch": 1, **errors, "learning_rate": 1.0}, "history")
        progress = cls(**record)
        if min(progress.epoch, progress.step, progress.total_steps, progress.total_rows, progress.seconds) < 0:
            raise ValueError("progress is negative")
        return progress


@dataclass
class TrainingState:
    """All that changes during training. Random numbers are none of it: each step's follow from its number alone."""

    model: Forecaster
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    stopping: EarlyStopping
    progress: Progress = field(default_factory=Progress)

    @property
    def is_between_epochs(self) -> bool:
        """Whether the last step belongs to an epoch that has been validated."""
        return self.progress.step == 0

    @property
    def best_is_now(self) -> bool:
        """Whether the model's weights are those of the best epoch so far."""
        return self.is_between_epochs and self.progress.epoch > 0 and self.stopping.best_epoch == self.progress.epoch

    def save(self, path: Path, runtime: Runtime, header: dict[str, Any]) -> None:
        """Writes everything in the main process; nothing is written when weights are no finite numbers."""
        own = runtime.counts_of_processes({**self.progress.sums, ROWS: self.progress.rows})
        runtime.share_buffers(self.model)
        runtime.on_main(lambda: self._write(path, header, own))

    def restore(self, path: Path, runtime: Runtime) -> None:
        """Puts back what `save` wrote; a DamagedFile says what does not fit."""
        runtime.run_on_all_ranks(lambda: self._read(path, runtime))

    def _write(self, path: Path, header: dict[str, Any], own: list[dict[str, float]]) -> None:
        model = self.model.saved_state()
        check_weights(model)
        tensors, groups = optimizer_state(self.optimizer)
        state = {
            "progress": {**asdict(self.progress), "sums": {}, "rows": 0},
            "own": own,
            "stopping": asdict(self.stopping),
            "schedule": self.schedule.state(),
            "groups": groups,
        }
        save_checkpoint(path, {**pack("model", model), **pack("optimizer", tensors)}, {**header, "state": state})

    def _read(self, path: Path, runtime: Runtime) -> None:
        tensors, header = load_checkpoint(path)
        with _content_of(path):
            state = header["state"]
            progress = Progress.of_record(state["progress"])
            own = dict(state["own"][runtime.process_index])
            check_alike(own, dict.fromkeys([*own, ROWS], 1.0), "own")
            progress.rows, progress.sums = int(own.pop(ROWS)), {name: float(value) for name, value in own.items()}
            stopping = EarlyStopping.of_record(state["stopping"], num_epochs=progress.epoch)
            self.model.load_saved_state(unpack("model", tensors))
            restore_optimizer(self.optimizer, unpack("optimizer", tensors), state["groups"])
            self.schedule.restore(state["schedule"])
        self.progress, self.stopping = progress, stopping


def load_weights(path: Path, model: Forecaster) -> dict[str, Any]:
    """Puts the weights of a checkpoint into `model` and returns its header; a DamagedFile says what does not fit."""
    tensors, header = load_checkpoint(path)
    with _content_of(path):
        model.load_saved_state(unpack("model", tensors))
    return header


@contextmanager
def _content_of(path: Path) -> Iterator[None]:
    """What goes wrong in using a checkpoint's content is said of its file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError) as error:
        raise damaged_checkpoint(path, error) from error
