"""The one training loop: per epoch train, validate, schedule, checkpoint, stop? Any checkpoint can be continued."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from data_provider.windows import Batch
from exp.config import TrainConfig
from exp.training.data import SplitData
from exp.training.epoch_report import curves, errors_line, pace_line
from exp.training.loss_guard import SUM, LossGuard
from exp.training.runtime import Runtime
from exp.training.state import Progress, TrainingState, load_weights
from models.base import Forecaster
from utils.checkpoint import pack, save_checkpoint
from utils.files import write_json_lines
from utils.interrupt import StopRequest
from utils.losses import LOSSES
from utils.progress import duration, progress
from utils.run_folder import RunFolder
from utils.schedules import EarlyStopping, Schedule
from utils.tracking import Tracking

logger = logging.getLogger(__name__)
# On a GPU the losses of a step, and the wishes of other processes, are asked for once in so many steps.
STEPS_BETWEEN_QUESTIONS_ON_GPU = 16


class Interrupted(Exception):
    """Training stopped on request; everything up to the last step is saved."""


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
        self.steps_between_questions = 1 if runtime.device.type == "cpu" else STEPS_BETWEEN_QUESTIONS_ON_GPU
        self.guard = LossGuard(self.steps_between_questions)
        self.wrapped = runtime.wrap(model)
        groups = [group for group in model.parameter_groups(config.learning_rate) if group["params"]]
        # A model without parameters has nothing to train: its only epoch is a validation, its optimizer holds nothing.
        self.has_parameters = bool(groups)
        self.num_epochs = config.train_epochs if groups else 1
        nothing = {"params": [torch.zeros(0)], "lr": config.learning_rate, "scheduled": True}
        optimizer = torch.optim.Adam(groups or [nothing], betas=(config.adam_beta1, 0.999))
        schedule = Schedule(
            config.lradj,
            optimizer,
            steps_per_epoch=len(split.loader),
            num_epochs=config.train_epochs,
            cosine_epochs=config.cosine_epochs,
        )
        self.state = TrainingState(model, optimizer, schedule, EarlyStopping(config.patience))

    @property
    def progress(self) -> Progress:
        """Epochs done and what was recorded of them."""
        return self.state.progress

    def fit(self) -> Progress:
        """Trains to the end, from the last checkpoint where there is one; the best weights are loaded afterwards.

        Raises Interrupted after Ctrl-C, FloatingPointError for numbers that are not finite, and OSError when a file
        cannot be written or is damaged.
        """
        if self.runtime.any_process(self.folder.last.exists()):
            self._go_on()
        with StopRequest() as stop:
            while self.progress.epoch < self.num_epochs and not self.state.stopping.should_stop:
                began = time.perf_counter()
                if self.has_parameters:
                    self._train_epoch(stop)
                self._close_epoch(began)
                if self.runtime.any_process(stop.requested):
                    raise Interrupted(f"stopped after epoch {self.progress.epoch}; the same command goes on from there")
        self.runtime.run_on_all_ranks(lambda: load_weights(self.folder.best, self.model))
        self.runtime.seed_step(self.progress.epoch, 0)
        return self.progress

    def summary(self) -> dict[str, Any]:
        """What metrics.json says of the training."""
        state, best = self.progress, self.state.stopping.best_epoch
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
        self.wrapped.train()
        sums = {name: self._number(value) for name, value in state.sums.items()}
        label = f"epoch {state.epoch + 1}/{self.num_epochs}"
        began = time.perf_counter()
        for batch in progress(self.loader, total=steps, start=state.step, label=label, shown=self.runtime.is_main):
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, self._number(0.0)) + value * len(batch.rows)
            self._count(batch)
            stopping = self._asks_for_a_stop(stop)
            if stopping or self._checkpoint_is_due():
                began = self._pause(sums, began)
                self.state.save(self.folder.last, self.runtime, self.header)
            if stopping:
                raise Interrupted(
                    f"stopped after step {state.step} of epoch {state.epoch + 1}; the same command goes on from there"
                )
        self._pause(sums, began)

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        state = self.progress
        self.runtime.seed_step(state.epoch, state.step)
        inputs = self.split.feature_cache.of(batch)
        forecast = self.wrapped(batch.look_back, **inputs)
        values = self.split.windows.keep_targets(forecast.values.float())
        losses = {self.loss_name: LOSSES[self.loss_name](values, batch.target), **forecast.auxiliary_losses}
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        # The slices of the last global batch can differ by a row: each row must weigh the same in the mean gradient.
        weight = len(batch.rows) * self.runtime.num_processes / batch.num_global_rows
        self.state.optimizer.zero_grad()
        self.runtime.backward(loss * weight if weight != 1 else loss)
        kept = {name: value.detach().float() for name, value in losses.items()} | {SUM: loss.detach()}
        rate = self.state.optimizer.param_groups[0]["lr"]
        self.guard.watch(kept, epoch=state.epoch + 1, step=state.step + 1, rows=batch.rows, learning_rate=rate)
        self.state.optimizer.step()
        self.state.schedule.after_step()
        return kept

    def _count(self, batch: Batch) -> None:
        state = self.progress
        state.step += 1
        state.total_steps += 1
        state.rows += len(batch.rows)
        state.total_rows += batch.num_global_rows

    def _checkpoint_is_due(self) -> bool:
        every, step = self.config.checkpoint_steps, self.progress.step
        return every > 0 and step % every == 0 and step < len(self.loader)

    def _asks_for_a_stop(self, stop: StopRequest) -> bool:
        if self.runtime.num_processes > 1 and self.progress.step % self.steps_between_questions:
            return False
        return self.runtime.any_process(stop.requested)

    def _pause(self, sums: dict[str, Tensor], began: float) -> float:
        """Moves what the loop holds into the state and returns the time from which it goes on."""
        self.guard.check()
        state, now = self.progress, time.perf_counter()
        state.seconds += now - began
        state.sums = {name: value.item() for name, value in sums.items()}
        return now

    def _close_epoch(self, began: float) -> None:
        state = self.progress
        train = self._mean_losses()
        rate = self.state.optimizer.param_groups[0]["lr"]
        self.runtime.share_buffers(self.model)
        # A model that draws random numbers in evaluation too draws the same ones after any resume.
        self.runtime.seed_step(state.epoch, len(self.loader))
        errors = self.validate()
        if not math.isfinite(errors[self.monitor]):
            raise FloatingPointError(
                f"the validation {self.monitor} of epoch {state.epoch + 1} is not a finite number: lower "
                "--learning_rate; the last good state is kept in the run folder"
            )
        if self.has_parameters:
            self.state.schedule.after_epoch()
        state.epoch += 1
        improved = self.state.stopping.update(errors[self.monitor], epoch=state.epoch)
        record = {"epoch": state.epoch, "train": train, "validation": errors, "learning_rate": rate}
        state.history.append(record)
        state.timing.append({"epoch": state.epoch, "seconds": state.seconds, "rows": state.total_rows})
        state.step, state.rows, state.sums = 0, 0, {}
        # The tracker first: what it is told again after a kill it knows by its step.
        self.tracking.log(curves(record, state.timing), step=state.total_steps)
        self.state.save(self.folder.last, self.runtime, self.header)
        self.runtime.on_main(self._write_epoch)
        self._report(record, improved=improved, seconds=time.perf_counter() - began)

    def _write_epoch(self) -> None:
        """What follows from last.safetensors, which is written before: a kill in between is made good by `_go_on`."""
        if self.state.best_is_now:
            header = {
                **self.header,
                "epoch": self.progress.epoch,
                "validation": self.progress.history[-1]["validation"],
            }
            save_checkpoint(self.folder.best, pack("model", self.model.saved_state()), header)
        write_json_lines(self.folder.history, self.progress.history)
        write_json_lines(self.folder.timing, self.progress.timing)

    def _go_on(self) -> None:
        self.state.restore(self.folder.last, self.runtime)
        self.runtime.on_main(self._write_epoch)
        logger.info("going on after epoch %d, step %d", self.progress.epoch, self.progress.step)

    def _mean_losses(self) -> dict[str, float]:
        names = sorted(self.progress.sums)
        sums = [self.progress.sums[name] for name in names] + [float(self.progress.rows)]
        total = self.runtime.sum_over_processes(torch.tensor(sums, dtype=torch.float64, device=self.runtime.device))
        return {name: (total[index] / total[-1]).item() for index, name in enumerate(names)}

    def _report(self, record: dict[str, Any], *, improved: bool, seconds: float) -> None:
        epochs_left = 0 if self.state.stopping.should_stop else self.config.train_epochs - record["epoch"]
        if self.runtime.is_main:
            logger.info(
                "epoch %d/%d  %s | %s%s",
                record["epoch"], self.config.train_epochs, errors_line(record, improved=improved), duration(seconds),
                pace_line(self.progress.timing, seconds_left=seconds * epochs_left),
            )  # fmt: skip

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.runtime.device)
