"""Long-term forecasting: train on a data set, then test the best epoch on every window of its test split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from data_provider.batches.loader import Loader
from data_provider.data_factory import load_data
from data_provider.series import SeriesInfo, WindowSource
from data_provider.splits import Split
from data_provider.tables.table import column_names
from exp.exp_basic import Experiment, Settings, run_id
from exp.training.data import split_loader
from exp.training.description import closing_lines, labels_of_run, opening_lines
from exp.training.evaluation import SHOWN_NAIVE, evaluate, measure, metric_of, naive_model, naive_values
from exp.training.loop import TrainingLoop
from exp.training.record import (
    diagnostics,
    plot_samples,
    plot_training,
    rows_of_forecast,
    save_forecasts,
    tables_of_errors,
    tracker_summary,
)
from exp.training.runtime import peak_memory_bytes
from exp.training.spec import forecast_spec
from exp.training.state import load_weights
from exp.training.step import loss_of
from models.base import ForecastSpec
from utils.checkpoint import pack, save_checkpoint
from utils.intervals.conformal import AbsoluteErrors, Coverage
from utils.intervals.quantiles import PINBALL
from utils.metrics import Metric, MetricSet
from utils.run_folder import FORMAT
from utils.terminal import error_table
from utils.tracking.config import Rows

logger = logging.getLogger(__name__)
TASK = "long_term_forecast"


class LongTermForecast(Experiment):
    """The task `long_term_forecast`; with `--percent` it is few-shot forecasting."""

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.series = self.load()
        self.model = settings.model_class.build(settings.model, self.spec_of(self.series))
        self.model.to(self.runtime.device)
        loss_of(self.model, settings.train.loss)
        self.train, self.validation, self.test = (
            self.loader_of(self.series, split) for split in ("train", "validation", "test")
        )
        self.best_error = math.inf
        self.best_errors: AbsoluteErrors | None = None
        self.window_errors: dict[str, Tensor] = {}
        fingerprint = self.series.fingerprint
        name, *earlier = (
            run_id(settings, data=data, fingerprint=fingerprint, determinants=determinants)
            # Earlier versions named the source of a zero-shot run only, and then its targets without their content.
            for determinants in (self.determinants(), LongTermForecast.determinants(self))
            for data in (self.tested_name(), self.series.name)
        )
        self.folder = self.folder_for(name, earlier_ids=earlier)

    @property
    def run_id(self) -> str:
        """The name of the run folder, which every file in it carries."""
        return self.folder.path.name

    @property
    def monitor(self) -> str:
        """The validation error that says which epoch is the best."""
        return PINBALL if self.model.quantiles else "mse"

    def determinants(self) -> dict[str, Any]:
        """What determines the result besides flags, data and code: it is part of the run id."""
        return {"backbone_fingerprint": self.model.fingerprint(), "num_processes": self.runtime.num_processes}

    def data_used(self) -> list[tuple[str, SeriesInfo]]:
        """Every data set that it trains or tests on, with the name that the flags have for it."""
        return [(self.settings.data.data, self.series)]

    def load(self) -> WindowSource:
        """The series that the flags name."""
        asked = self.settings.model.known_future if self.settings.model_class.reads_known_future else None
        names = column_names(asked or None) or ()
        if names and self.settings.task_name != TASK:
            raise ValueError(
                f"--known_future only has a meaning with --task_name {TASK}, not {self.settings.task_name}"
            )
        return load_data(self.settings.data, known_future=names)

    def run(self) -> dict[str, Any]:
        """Train, test and write the run folder; with `--is_training 0` test a finished run again and write nothing."""
        if not self.settings.train.is_training:
            with self.folder_taken():
                return self._test_again()
        with self.folder_taken(self._record()):
            return self._train_and_test()

    def test_entries(self) -> dict[str, Any]:
        """Test the model. Returns `tests` of metrics.json; a training run saves window errors and intervals."""
        intervals = self._validation_errors().intervals()
        coverage = Coverage(intervals, device=self.runtime.metric_device)
        metrics = self.measured(self.test, label="test", more=[coverage])
        self.window_errors[self.series.name] = metrics.window_values()["mse"]
        if self.writes_record:
            save_checkpoint(
                self.folder.window_errors, metrics.window_values(), {"split": "test", "run_id": self.run_id}
            )
            coverage.measured_intervals().save(self.folder.intervals, run_id=self.run_id)
        naive = naive_values(self.runtime, self.test, self.spec_of(self.series))
        return {"tests": {self.series.name: {**self.summary_of(metrics, self.series), "naive": naive}}}

    def fit(self, loop: TrainingLoop) -> dict[str, Any]:
        """Train. Returns the training entries of metrics.json."""
        loop.fit()
        if self.best_error != loop.state.stopping.best:
            # The best epoch was validated before this run was resumed.
            self.best_errors = None
        return loop.summary()

    def tested_name(self) -> str:
        """What the run id says of the data."""
        return self.series.name

    def shown_tests(self) -> list[tuple[SeriesInfo, Loader, ForecastSpec]]:
        """Series, loader and forecast spec of the sample forecasts and plots, one for each test set."""
        return [(self.series, self.test, self.spec_of(self.series))]

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """A table of test errors, and a summary of the run and its files."""
        (test,) = metrics["tests"].values()
        return f"{error_table(self.settings.model_name, test)}\n{self.closing_lines(metrics)}"

    def closing_lines(self, metrics: dict[str, Any]) -> str:
        """Summary of the run and its files."""
        return closing_lines(metrics, code=self.code_lines(), folder=self.folder)

    def spec_of(self, series: SeriesInfo) -> ForecastSpec:
        """The forecast spec of a model for this series."""
        data = self.settings.data
        runtime = self.runtime
        return forecast_spec(
            series,
            seq_len=data.seq_len,
            pred_len=data.pred_len,
            dtype=runtime.dtype,
            device=runtime.device,
            quantiles=data.quantile_levels,
        )

    def loader_of(self, series: WindowSource, split: Split) -> Loader:
        """The loader of a split."""
        settings = self.settings
        return split_loader(self.runtime, self.model, series, split, data=settings.data, train=settings.train)

    def measured(self, loader: Loader, *, label: str, more: Sequence[Metric] = ()) -> MetricSet:
        """All metrics of the model on a split: validation, test and zero-shot targets are measured alike."""
        return measure(self.runtime, self.model, loader, label=label, more=more, quantiles=self.model.quantiles)

    def summary_of(self, metrics: MetricSet, series: SeriesInfo) -> dict[str, Any]:
        """The metrics of a test entry of metrics.json."""
        scale = series.scaler.scale[series.target_channels].tolist()
        return metrics.summary(columns=series.target_columns, scale=scale)

    def _record(self) -> dict[str, Any]:
        """Description of the run for config.json and the headers of checkpoints, which can be used alone."""
        return {
            "format": FORMAT,
            **self.settings.record(),
            "run_id": self.run_id,
            "backbone_fingerprint": self.model.fingerprint(),
            "code_hashes": self.model.code_hashes(),
            "source": self.code,
            "model_defaults": asdict(type(self.settings.model)()),
            "labels": self._labels(),
            "series": self.series.to_record(),
            **self.runtime.describe(),
        }

    def _labels(self) -> list[str]:
        return labels_of_run(self.settings, self.model, data=self.data_used(), code_changed=bool(self.other_codes))

    def labels_of_pictures(self) -> list[str]:
        """The labels, and whether the code is edited."""
        return [*self._labels(), *(["edited code"] if self.code["edited"] else [])]

    def _validate(self) -> dict[str, float]:
        errors = metric_of(AbsoluteErrors, self.validation, self.runtime)
        values = self.measured(self.validation, label="validation", more=[errors]).values()
        if values[self.monitor] < self.best_error:
            self.best_error, self.best_errors = values[self.monitor], errors
        return values

    def _validation_errors(self) -> AbsoluteErrors:
        """The validation errors of the best epoch, computed again if it was validated before a resume."""
        if self.best_errors is not None:
            return self.best_errors
        errors = metric_of(AbsoluteErrors, self.validation, self.runtime)
        return evaluate(self.runtime, self.model, self.validation, errors, label="intervals")

    def _train_and_test(self) -> dict[str, Any]:
        began = time.perf_counter()
        if self.runtime.is_main:
            for line in opening_lines(
                self.settings, self.model, self.series, loader=self.train, runtime=self.runtime, labels=self._labels()
            ):
                logger.info("%s", line)
        self.tracking.start(
            run_id=self.run_id,
            group=f"{self.settings.model_name}-{self.series.name}-{self.settings.data.pred_len}",
            settings=self.settings.record(),
            folder=self.folder.path,
        )
        before = self._diagnostics()
        loop = TrainingLoop(
            self.runtime,
            self.model,
            self.settings.train,
            loader=self.train,
            validate=self._validate,
            folder=self.folder,
            tracking=self.tracking,
            header=self._record(),
            monitor=self.monitor,
        )
        trained = self.fit(loop)
        tested_from = time.perf_counter()
        tested = self.test_entries()
        now = time.perf_counter()
        seconds = {"training": loop.progress.seconds, "test": now - tested_from}
        seconds["total"] = loop.seconds_before + now - began
        metrics = {**self._cell(), **tested, **trained, "seconds": seconds, **self._resources()}
        if self.runtime.is_main:
            tables = self._close_record(metrics, loop, before)
            images = {path.stem: path for path in self.folder.plots.glob("*.png")}
            self.tracking.finish(summary=tracker_summary(metrics), images=images, tables=tables)
        self.runtime.wait()
        return metrics

    def _cell(self) -> dict[str, Any]:
        data = self.settings.data
        return {
            "run_id": self.run_id,
            "model": self.settings.model_name,
            "task_name": self.settings.task_name,
            "data": self.series.name,
            "features": data.features,
            "seq_len": data.seq_len,
            "pred_len": data.pred_len,
            "percent": data.percent,
            "seed": self.settings.train.seed,
            "labels": self._labels(),
        }

    def _resources(self) -> dict[str, Any]:
        return {
            "peak_memory_bytes": peak_memory_bytes(self.runtime.device),
            "parameters": self.model.count_parameters(),
            "chance": self.model.chance_losses(self.settings.train.batch_size),
            **self.runtime.describe(),
        }

    def _diagnostics(self) -> dict[str, Tensor]:
        return diagnostics(self.model, self.validation, self.runtime) if self.runtime.is_main else {}

    def _close_record(self, metrics: dict[str, Any], loop: TrainingLoop, before: dict[str, Tensor]) -> dict[str, Rows]:
        """Write the run folder, metrics.json last since it marks a finished run. Returns tables for the tracker."""
        if before:
            states = {**pack("before", before), **pack("after", self._diagnostics())}
            save_checkpoint(self.folder.alignment, states, {"split": "validation", "run_id": self.run_id})
        data = self.settings.data
        labels = self.labels_of_pictures()
        tables: dict[str, Rows] = tables_of_errors(metrics)
        for series, loader, spec in self.shown_tests():
            target = "" if series is self.series else series.name
            tested = f"{self.series.name} -> {target}" if target else series.name
            samples = save_forecasts(
                self.folder, self.runtime, self.model, loader, series, target=target,
                naive=naive_model(SHOWN_NAIVE, spec), errors=self.window_errors.get(series.name, torch.zeros(0)),
            )  # fmt: skip
            title = f"{self.settings.model_name} on {tested}, {data.seq_len} steps read, {data.pred_len} ahead"
            plot_samples(self.folder, samples, title=title, labels=labels)
            tables |= {f"forecasts_{target}" if target else "forecasts": rows_of_forecast(samples)}
        plot_training(
            self.folder, loop.progress.history, title=f"{self.settings.model_name} on {self.series.name}",
            labels=labels, best_epoch=metrics["validation"]["best_epoch"], chance=metrics["chance"],
        )  # fmt: skip
        self.folder.write_metrics(metrics)
        return tables

    def _test_again(self) -> dict[str, Any]:
        self.runtime.run_on_all_ranks(lambda: load_weights(self.folder.best, self.model, run_id=self.run_id))
        self.runtime.wrap(self.model)
        return {**self.folder.read_metrics(), **self.test_entries()}
