"""The one training loop: per epoch train, validate, schedule, checkpoint, stop? Any checkpoint can be continued."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from data_provider.windows import Batch
from exp.config import TrainConfig
from exp.exp_basic import Runtime
from exp.run_folder import RunFolder
from exp.split_data import SplitData
from models.base import Forecaster
from utils.checkpoint import (
    load_checkpoint,
    optimizer_state,
    pack,
    restore_optimizer,
    save_checkpoint,
    unpack,
)
from utils.early_stopping import EarlyStopping
from utils.files import write_json_lines
from utils.interrupt import StopRequest
from utils.losses import LOSSES
from utils.progress import duration, progress
from utils.schedules import Schedule
from utils.tracking import Tracking

logger = logging.getLogger(__name__)
STEPS_BETWEEN_CHECKS_ON_GPU = 16


class Interrupted(Exception):
    """Training stopped on request; everything up to the last step is saved."""


@dataclass
class Progress:
    """Where training stands: all that a checkpoint keeps beside tensors, the schedule and early stopping."""

    epoch: int = 0
    step: int = 0
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    total_steps: int = 0
    total_rows: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


class TrainingLoop:
    """Trains `model` on `split`; `validate` returns the errors of an epoch, of which `monitor` decides."""

    def __init__(
        self,
        runtime: Runtime,
        model: Forecaster,
        config: TrainConfig,
        *,
        split: SplitData,
        validate: Callable[[], dict[str, float]],
        folder: RunFolder,
        tracking: Tracking,
        header: dict[str, Any],
        monitor: str = "mse",
    ):
        self.runtime, self.model, self.config = runtime, model, config
        self.split, self.loader = split, split.loader
        self.validate, self.folder, self.tracking = validate, folder, tracking
        self.header, self.monitor = header, monitor
        self.loss_name = model.default_loss if config.loss == "default" else config.loss
        groups = [group for group in model.parameter_groups(config.learning_rate) if group["params"]]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        # A model without parameters has nothing to train: its only epoch is a validation, its optimizer holds nothing.
        self.num_epochs = config.train_epochs if self.parameters else 1
        groups = groups or [{"params": [torch.zeros(0)], "lr": config.learning_rate, "scheduled": True}]
        self.optimizer = torch.optim.Adam(groups, betas=(config.adam_beta1, 0.999))
        self.schedule = Schedule(
            config.lradj,
            self.optimizer,
            steps_per_epoch=len(split.loader),
            num_epochs=config.train_epochs,
            cosine_epochs=config.cosine_epochs,
        )
        self.stopping = EarlyStopping(config.patience)
        self.progress = Progress()
        self.wrapped = runtime.wrap(model)
        self.unchecked: list[tuple[Tensor, dict[str, Tensor]]] = []

    def fit(self) -> Progress:
        """Trains to the end, from the last checkpoint where there is one; the best weights are loaded afterwards."""
        if self.folder.last.exists():
            self._restore()
        with StopRequest() as stop:
            while self.progress.epoch < self.num_epochs and not self.stopping.should_stop:
                if self.parameters:
                    self._train_epoch(stop)
                self._close_epoch()
        tensors, _ = load_checkpoint(self.folder.best)
        self.model.load_saved_state(unpack("model", tensors))
        return self.progress

    def summary(self) -> dict[str, Any]:
        """What metrics.json says of the training."""
        state, best = self.progress, self.stopping.best_epoch
        return {
            "validation": {**state.history[best - 1]["validation"], "best_epoch": best},
            "epochs": state.epoch,
            "steps": state.total_steps,
            "rows_per_second": state.total_rows / max(state.seconds, 1e-9),
            "seconds_per_step": state.seconds / max(state.total_steps, 1),
        }

    def _train_epoch(self, stop: StopRequest) -> None:
        state, steps = self.progress, len(self.loader)
        self.model.start_epoch(state.epoch)
        self.loader.set_epoch(state.epoch)
        self.loader.start_at(state.step)
        self.model.train()
        sums = {name: torch.tensor(value, dtype=torch.float64) for name, value in state.sums.items()}
        sums = {name: value.to(self.runtime.device) for name, value in sums.items()}
        label = f"epoch {state.epoch + 1}/{self.num_epochs}"
        began = time.perf_counter()
        for batch in progress(self.loader, total=steps, start=state.step, label=label, shown=self.runtime.is_main):
            losses = self._step(batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value, dtype=torch.float64)) + value * len(batch.rows)
            state.step += 1
            state.total_steps += 1
            state.rows += len(batch.rows)
            state.total_rows += batch.num_global_rows
            due = self.config.checkpoint_steps and state.step % self.config.checkpoint_steps == 0
            stopping = self.runtime.any_process(stop.requested)
            if (due or stopping) and state.step < steps:
                self._check_finite()
                state.seconds += time.perf_counter() - began
                began = time.perf_counter()
                state.sums = {name: value.item() for name, value in sums.items()}
                self._save_last()
            if stopping:
                raise Interrupted(
                    f"stopped after step {state.step} of epoch {state.epoch + 1}; the same command goes on from there"
                )
        self._check_finite()
        state.seconds += time.perf_counter() - began
        state.sums = {name: value.item() for name, value in sums.items()}

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        state = self.progress
        self.runtime.seed_step(state.epoch, state.step)
        inputs = self.split.row_inputs.of(batch)
        forecast = self.wrapped(batch.look_back, **inputs)
        values = self.split.windows.keep_targets(forecast.values.float())
        losses = {self.loss_name: LOSSES[self.loss_name](values, batch.target), **forecast.auxiliary_losses}
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        # The slices of the last global batch can differ by a row: each row must weigh the same in the mean gradient.
        weight = len(batch.rows) * self.runtime.num_processes / batch.num_global_rows
        self.optimizer.zero_grad()
        self.runtime.backward(loss * weight if weight != 1 else loss)
        kept = {"loss": loss.detach(), **{name: value.detach().float() for name, value in losses.items()}}
        self.unchecked.append((batch.rows, kept))
        if self.runtime.device.type == "cpu" or len(self.unchecked) >= STEPS_BETWEEN_CHECKS_ON_GPU:
            self._check_finite()
        self.optimizer.step()
        self.schedule.after_step()
        return kept

    def _check_finite(self) -> None:
        """Stops at a loss that is NaN or infinite; on a GPU losses are looked at in groups, so that no step waits."""
        unchecked, self.unchecked = self.unchecked, []
        for rows, losses in unchecked:
            broken = [name for name, value in losses.items() if name != "loss" and not math.isfinite(value.item())]
            if broken or not math.isfinite(losses["loss"].item()):
                rate = self.optimizer.param_groups[0]["lr"]
                raise FloatingPointError(
                    f"the loss is no longer a finite number in epoch {self.progress.epoch + 1}, step "
                    f"{self.progress.step + 1}: term {', '.join(broken) or 'sum'}, learning rate {rate:g}, rows "
                    f"{rows.tolist()[:16]}. Lower --learning_rate, try --precision fp32, or look at these rows in the "
                    "data; the last good state is kept in the run folder"
                )

    def _close_epoch(self) -> None:
        state = self.progress
        train = self._mean_losses()
        rate = self.optimizer.param_groups[0]["lr"]
        errors = self.validate()
        if not math.isfinite(errors[self.monitor]):
            raise FloatingPointError(
                f"the validation {self.monitor} of epoch {state.epoch + 1} is not a finite number: lower "
                "--learning_rate; the last good state is kept in the run folder"
            )
        if self.parameters:
            self.schedule.after_epoch()
        state.epoch += 1
        improved = self.stopping.update(errors[self.monitor], epoch=state.epoch)
        record = {"epoch": state.epoch, "train": train, "validation": errors, "learning_rate": rate}
        state.history.append(record)
        before = state.timing[-1]["seconds"] if state.timing else 0.0
        state.timing.append({"epoch": state.epoch, "seconds": state.seconds, "rows": state.total_rows})
        speed = self._rows_per_second(before)
        state.step, state.rows, state.sums = 0, 0, {}
        if self.runtime.is_main:
            if improved:
                save_checkpoint(self.folder.best, pack("model", self.model.saved_state()), self._header())
            write_json_lines(self.folder.history, state.history)
            write_json_lines(self.folder.timing, state.timing)
        self._save_last()
        self._report(record, improved=improved, speed=speed, seconds=state.seconds - before)

    def _mean_losses(self) -> dict[str, float]:
        names = sorted(self.progress.sums)
        sums = [self.progress.sums[name] for name in names] + [float(self.progress.rows)]
        total = self.runtime.sum_over_processes(torch.tensor(sums, dtype=torch.float64, device=self.runtime.device))
        return {name: (total[index] / total[-1]).item() for index, name in enumerate(names)}

    def _rows_per_second(self, seconds_before: float) -> float:
        timing = self.progress.timing
        rows_before = timing[-2]["rows"] if len(timing) > 1 else 0
        return (timing[-1]["rows"] - rows_before) / max(timing[-1]["seconds"] - seconds_before, 1e-9)

    def _report(self, record: dict[str, Any], *, improved: bool, speed: float, seconds: float) -> None:
        curves = {f"epoch_train/{name}": value for name, value in record["train"].items()}
        curves |= {f"validation/{name}": value for name, value in record["validation"].items()}
        curves |= {"schedule/learning_rate": record["learning_rate"], "schedule/rows_per_second": speed}
        self.tracking.log({**curves, "epoch": record["epoch"]}, step=self.progress.total_steps)
        if self.runtime.is_main:
            terms = ", ".join(f"{name} {value:.4f}" for name, value in record["train"].items()) or "nothing"
            found = ", ".join(f"{name} {value:.4f}" for name, value in record["validation"].items())
            logger.info(
                "epoch %d/%d  train %s | validation %s%s | rate %.3g | %s, %.0f rows/s",
                record["epoch"], self.num_epochs, terms, found, " (best)" if improved else "",
                record["learning_rate"], duration(seconds), speed,
            )  # fmt: skip

    def _header(self) -> dict[str, Any]:
        return {**self.header, "epoch": self.progress.epoch, "validation": self.progress.history[-1]["validation"]}

    def _save_last(self) -> None:
        if self.runtime.is_main:
            tensors, groups = optimizer_state(self.optimizer)
            state = {
                "progress": asdict(self.progress),
                "stopping": asdict(self.stopping),
                "schedule": self.schedule.state(),
                "groups": groups,
            }
            model = pack("model", self.model.saved_state())
            save_checkpoint(self.folder.last, {**model, **pack("optimizer", tensors)}, {**self.header, "state": state})
        self.runtime.wait()

    def _restore(self) -> None:
        tensors, header = load_checkpoint(self.folder.last)
        state = header["state"]
        self.progress = Progress(**state["progress"])
        self.stopping = EarlyStopping(**state["stopping"])
        self.model.load_saved_state(unpack("model", tensors))
        restore_optimizer(self.optimizer, unpack("optimizer", tensors), state["groups"])
        self.schedule.restore(state["schedule"])
        if self.runtime.is_main:
            logger.info("going on after epoch %d, step %d", self.progress.epoch, self.progress.step)
