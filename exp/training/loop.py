"""Training loop with validation, schedule, checkpoints, early stopping and resume."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from data_provider.batches.joint_loader import JointLoader
from data_provider.batches.loader import Loader
from exp.config import TrainConfig
from exp.training.graphs import GraphedStep
from exp.training.resume import Resume, write_best
from exp.training.runtime import Runtime
from exp.training.state import Progress, TrainingState, load_weights
from exp.training.step import SUM, LossGuard, TrainingStep, loss_of
from models.base import Forecaster
from utils.files import DamagedFile, write_json_lines
from utils.run_folder import RunFolder
from utils.schedules import EarlyStopping, Schedule
from utils.signals import StopRequest
from utils.terminal import duration, progress_bar
from utils.tracking.config import Tracking

logger = logging.getLogger(__name__)
# Reading a loss makes a GPU wait, and asking other ranks makes all wait: on a GPU, do both only every so many steps.
STEPS_BETWEEN_CHECKS_ON_GPU = 16
STEPS_UNTIL_ESTIMATE = 10
SECONDS_WORTH_SAYING = 60


class Interrupted(Exception):
    """Training was stopped by a signal, after saving a checkpoint."""


class TrainingLoop:
    """Trains `model` on the batches of `loader`.

    `validate` returns the validation errors after an epoch; the error `monitor` determines the best epoch.
    `self.state` is the state that checkpoints save.
    """

    def __init__(
        self,
        runtime: Runtime,
        model: Forecaster,
        config: TrainConfig,
        *,
        loader: Loader | JointLoader,
        validate: Callable[[], dict[str, float]],
        folder: RunFolder,
        tracking: Tracking,
        header: dict[str, Any],
        monitor: str = "mse",
    ):
        self.runtime, self.model, self.config, self.loader = runtime, model, config, loader
        self.validate, self.folder, self.tracking = validate, folder, tracking
        self.header, self.monitor = header, monitor
        # Of the training steps before this process resumed.
        self.seconds_before = 0.0
        self.steps_between_checks = 1 if runtime.device.type == "cpu" else STEPS_BETWEEN_CHECKS_ON_GPU
        self.guard = LossGuard(self.steps_between_checks)
        self.wrapped = runtime.wrap(model)
        groups = [group for group in model.parameter_groups(config.learning_rate) if group["params"]]
        # A model without parameters has one epoch with validation only, and a dummy optimizer.
        self.has_parameters = bool(groups)
        self.num_epochs = config.train_epochs if groups else 1
        nothing = {"params": [torch.zeros(0)], "lr": config.learning_rate, "scheduled": True}
        optimizer = torch.optim.Adam(
            groups or [nothing],
            betas=(config.adam_beta1, 0.999),
            weight_decay=config.weight_decay,
            decoupled_weight_decay=config.optimizer == "adamw",
            # One launch for all parameters; on a CPU torch's loop over them is kept, for the same digits as ever.
            fused=True if runtime.device.type == "cuda" else None,
        )
        schedule = Schedule(
            config.lradj,
            optimizer,
            steps_per_epoch=len(loader),
            num_epochs=config.train_epochs,
            cosine_epochs=config.cosine_epochs,
        )
        self.state = TrainingState(model, optimizer, schedule, EarlyStopping(config.patience))
        step = TrainingStep(
            model,
            optimizer,
            loss_of(model, config.loss),
            forward=self.wrapped,
            keep_targets=loader.windows.keep_targets,
            backward=runtime.backward,
            schedule=schedule,
            num_processes=runtime.num_processes,
            max_gradient_norm=config.clip_grad_norm or None,
        )
        runtime.say_why_no_graphs(model)
        self.step = GraphedStep(step, config.batch_size) if runtime.has_graphs_for(model) else step

    @property
    def progress(self) -> Progress:
        """Epochs and steps done so far, and their history."""
        return self.state.progress

    def fit(self) -> Progress:
        """Train, resuming from the last checkpoint if there is one, then load the best weights.

        Raises Interrupted after Ctrl-C, FloatingPointError for losses, errors or weights that are not finite, and
        OSError if a file is damaged or cannot be written.
        """
        self._resume()
        self.seconds_before = self.progress.seconds
        with StopRequest() as stop:
            while self.progress.epoch < self.num_epochs and not self.state.stopping.should_stop:
                began = time.perf_counter()
                if self.has_parameters:
                    self._train_epoch(stop)
                self._finish_epoch(began)
                if self.runtime.any_process(stop.requested):
                    raise Interrupted(f"stopped after epoch {self.progress.epoch}; the same command goes on from there")
        self.runtime.run_on_all_ranks(self._load_best)
        self.runtime.seed_step(self.progress.epoch, 0)
        return self.progress

    def summary(self) -> dict[str, Any]:
        """The training entries of metrics.json."""
        progress, best = self.progress, self.state.stopping.best_epoch
        return {
            "validation": {**progress.history[best - 1]["validation"], "best_epoch": best},
            "epochs": progress.epoch,
            "steps": progress.total_steps,
            "rows_per_second": progress.total_rows / max(progress.seconds, 1e-9),
            "seconds_per_step": progress.seconds / max(progress.total_steps, 1),
        }

    def _train_epoch(self, stop: StopRequest) -> None:
        progress = self.progress
        self.model.start_epoch(progress.epoch)
        self.wrapped.train()
        self.guard.sums = dict(progress.sums)
        batches = progress_bar(
            self.loader.epoch(progress.epoch, first_step=progress.step),
            total=len(self.loader),
            start=progress.step,
            label=f"epoch {progress.epoch + 1}/{self.num_epochs}",
            shown=self.runtime.is_main,
        )
        began = time.perf_counter()
        for batch in batches:
            self.runtime.seed_step(progress.epoch, progress.step)
            rate = self._learning_rate()
            losses = self.step(batch)
            progress.count_step(len(batch.rows), batch.num_global_rows)
            if progress.total_steps == STEPS_UNTIL_ESTIMATE and self.runtime.is_main:
                self._say_expected_time(time.perf_counter() - began)
            self.guard.watch(losses, epoch=progress.epoch + 1, step=progress.step, rows=batch.rows, learning_rate=rate)
            if not self.guard.unchecked:
                batches.show(self.guard.last)
            stopping = self._asked_to_stop(stop)
            if stopping or self._checkpoint_is_due():
                began = self._update_progress(began)
                self._save()
            if stopping:
                raise Interrupted(
                    f"stopped after step {progress.step} of epoch {progress.epoch + 1}; the same command goes on from "
                    "there"
                )
        self._update_progress(began)

    def _update_progress(self, began: float) -> float:
        """Add the seconds since `began` and the loss sums to the progress. Returns the current time."""
        self.guard.check()
        now = time.perf_counter()
        self.progress.seconds += now - began
        self.progress.sums = dict(self.guard.sums)
        return now

    def _say_expected_time(self, seconds: float) -> None:
        """Log how long training will take at most, after the first steps took `seconds`."""
        epoch = seconds / STEPS_UNTIL_ESTIMATE * len(self.loader)
        if epoch * self.num_epochs > SECONDS_WORTH_SAYING:
            text = "about %s an epoch, so at most %s for %d epochs, and validation"
            logger.info(text, duration(epoch), duration(epoch * self.num_epochs), self.num_epochs)

    def _checkpoint_is_due(self) -> bool:
        every, step = self.config.checkpoint_steps, self.progress.step
        return every > 0 and step % every == 0 and step < len(self.loader)

    def _asked_to_stop(self, stop: StopRequest) -> bool:
        if self.runtime.num_processes > 1 and self.progress.step % self.steps_between_checks:
            return False
        return self.runtime.any_process(stop.requested)

    def _finish_epoch(self, began: float) -> None:
        """Validate, step the schedule, record the epoch and save a checkpoint; `began` is the start of the epoch."""
        progress, state = self.progress, self.state
        train, rate = self._mean_losses(), self._learning_rate()
        self.runtime.share_buffers(self.model)
        # A model that draws random numbers in evaluation must draw the same ones after a resume.
        self.runtime.seed_step(progress.epoch, len(self.loader))
        errors = self.validate()
        if not math.isfinite(errors[self.monitor]):
            raise FloatingPointError(
                f"the validation {self.monitor} of epoch {progress.epoch + 1} is not a finite number: lower "
                "--learning_rate; the last good state is kept in the run folder"
            )
        if self.has_parameters:
            state.schedule.after_epoch()
        improved = state.stopping.update(errors[self.monitor], epoch=progress.epoch + 1)
        record = {"epoch": progress.epoch + 1, "train": train, "validation": errors, "learning_rate": rate}
        progress.finish_epoch(record)
        # Log before saving: if interrupted in between, the resumed run logs this step again, and trackers ignore it.
        self.tracking.log(_curves(record, progress), step=progress.total_steps)
        self._save()
        self.runtime.on_main(self._write_epoch)
        if self.runtime.is_main:
            seconds = time.perf_counter() - began
            epochs_left = 0 if state.stopping.should_stop else self.num_epochs - progress.epoch
            left = f", {duration(seconds * epochs_left)} left at most" if epochs_left else ""
            logger.info(
                "epoch %d/%d  %s | %s, %.0f rows/s%s",
                progress.epoch, self.num_epochs, self._errors_line(record, improved=improved), duration(seconds),
                progress.rows_per_second, left,
            )  # fmt: skip

    def _save(self) -> None:
        self.state.save(self.folder.last, self.runtime, self.header, previous=self.folder.previous)

    def _write_epoch(self) -> None:
        """Write best.safetensors and history after last.safetensors; resume repeats this if interrupted."""
        if self.state.best_is_now:
            write_best(self.folder.best, self.model.saved_state(), self.header, self.progress.history[-1])
        write_json_lines(self.folder.history, self.progress.history)
        write_json_lines(self.folder.timing, self.progress.timing)

    def _load_best(self) -> None:
        best, epoch = self.folder.best, self.state.stopping.best_epoch
        header = load_weights(best, self.model, run_id=self.header.get("run_id"))
        if header.get("epoch") != epoch:
            raise DamagedFile(f"{best} holds the weights of epoch {header.get('epoch')}, but epoch {epoch} is the best")

    def _resume(self) -> None:
        resume = Resume(self.state, self.folder, self.runtime, self.header)
        if not resume.restore(may_start_anew=self.config.overwrite):
            return
        self.runtime.on_main(self._write_epoch)
        # What the last epoch froze stays frozen, also where no epoch is left to train.
        self.model.start_epoch(max(0, self.progress.epoch - 1))
        logger.info("resuming after epoch %d, step %d", self.progress.epoch, self.progress.step)

    def _mean_losses(self) -> dict[str, float]:
        """Mean of each loss over the rows of the epoch on all ranks."""
        names = sorted(self.progress.sums)
        sums = [self.progress.sums[name] for name in names] + [float(self.progress.rows)]
        total = self.runtime.sum_over_processes(
            torch.tensor(sums, dtype=torch.float64, device=self.runtime.metric_device)
        )
        return {name: (total[index] / total[-1]).item() for index, name in enumerate(names)}

    def _errors_line(self, record: dict[str, Any], *, improved: bool) -> str:
        """Losses (beside what chance reaches), validation errors and learning rate for the log."""
        chance = self.model.chance_losses(self.config.batch_size)
        # The total says nothing new where it is the only term.
        train = {name: value for name, value in record["train"].items() if name != SUM or len(record["train"]) > 2}
        train = ", ".join(
            f"{name} {value:.4f}" + (f" (chance {chance[name]:.4f})" if name in chance else "")
            for name, value in train.items()
        )
        validation = ", ".join(f"{name} {value:.4f}" for name, value in record["validation"].items())
        best = " (best)" if improved else ""
        return f"train {train} | validation {validation}{best} | rate {record['learning_rate']:.3g}"

    def _learning_rate(self) -> float:
        return self.state.optimizer.param_groups[0]["lr"]


def _curves(record: dict[str, Any], progress: Progress) -> dict[str, float]:
    """The values of an epoch for the tracker, named section/name."""
    return {
        **{f"epoch_train/{name}": value for name, value in record["train"].items()},
        **{f"validation/{name}": value for name, value in record["validation"].items()},
        "schedule/learning_rate": record["learning_rate"],
        "schedule/rows_per_second": progress.rows_per_second,
        "epoch": record["epoch"],
    }
