"""Joint forecasting: one model trained on several data sets and tested on each of them."""

from __future__ import annotations

import hashlib
import math
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from data_provider.batches.joint_loader import JointLoader
from data_provider.batches.loader import Loader
from data_provider.data_factory import load_series
from data_provider.series import Series, SeriesInfo
from data_provider.splits import Split
from data_provider.windows import Batch
from exp.exp_basic import Experiment, Settings, run_id
from exp.exp_long_term_forecast import LongTermForecast
from exp.joint_config import JointConfig, Part, parts_of
from exp.training.data import split_loader
from exp.training.evaluation import naive_values
from exp.training.loop import TrainingLoop
from exp.training.spec import forecast_spec
from models.base import Forecaster, ForecastSpec
from utils.terminal import error_table

SECOND_SEED = 1_000_003


@dataclass(frozen=True)
class TaskInputs:
    """Inputs that tell the model of which data set a batch is, and how far to forecast."""

    task: int
    horizon: int

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        # On the CPU: the model reads them as numbers, which must not make a GPU wait.
        return {**batch.inputs, "task": torch.tensor(self.task), "horizon": torch.tensor(self.horizon)}


class JointForecast(LongTermForecast):
    """The task `joint_forecast`, which `--data A,B,...` chooses.

    Every step trains on a batch of one data set (`JointLoader`). The best epoch has the lowest mean over the data sets
    of the validation MSE at the horizon of training. Each is tested at all its horizons by the one model.
    """

    task_configs = (JointConfig,)

    def __init__(self, settings: Settings):
        Experiment.__init__(self, settings)
        check_joint(settings)
        joint = next(config for config in settings.task if isinstance(config, JointConfig))
        self.parts = parts_of(settings.data, settings.train, joint)
        self.all_series = [load_series(part.data) for part in self.parts]
        self.series = _together(self.all_series)
        specs = [self._spec(part, series) for part, series in zip(self.parts, self.all_series, strict=True)]
        strides = [part.stride for part in self.parts if part.stride is not None]
        self.model = settings.model_class.build_joint(settings.model, specs, strides or None)
        self.model.to(self.runtime.device)
        self.train = JointLoader(self._training_loaders(), seed=settings.train.seed)
        self.validations = [self._loader(task, "validation") for task in range(len(self.parts))]
        self.best_error = math.inf
        self.best_errors = None
        self.window_errors = {}
        made = {"fingerprint": self.series.fingerprint, "determinants": self.determinants()}
        self.folder = self.folder_for(run_id(settings, data=self.series.name, **made))

    def test_entries(self) -> dict[str, Any]:
        """Test on each data set at each of its horizons. Returns `tests` of metrics.json."""
        tests = {}
        for task, (part, series) in enumerate(zip(self.parts, self.all_series, strict=True)):
            for horizon in part.test_pred_lens:
                name = series.name if len(part.test_pred_lens) == 1 else f"{series.name} {horizon}"
                loader = self._loader(task, "test", horizon)
                metrics = self.measured(loader, label=f"test on {name}")
                naive = naive_values(self.runtime, loader, replace(self._spec(part, series), pred_len=horizon))
                if horizon == part.data.pred_len:
                    self.window_errors[series.name] = metrics.window_values()["mse"]
                cell = {"data": series.name, "seq_len": part.data.seq_len, "pred_len": horizon}
                tests[name] = {**self.summary_of(metrics, series), "naive": naive, "cell": cell}
        return {"tests": tests}

    def data_used(self) -> list[tuple[str, SeriesInfo]]:
        """Every data set, with the name that the flags have for it."""
        return [(part.data.data, series) for part, series in zip(self.parts, self.all_series, strict=True)]

    def fit(self, loop: TrainingLoop) -> dict[str, Any]:
        loop.fit()
        return loop.summary()

    def shown_tests(self) -> list[tuple[SeriesInfo, Loader, ForecastSpec]]:
        """The first data set, at the horizon of its training."""
        return [(self.all_series[0], self._loader(0, "test"), self._spec(self.parts[0], self.all_series[0]))]

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """A table of test errors per data set and horizon, and a summary of the run and its files."""
        tables = [f"{name}\n{error_table(self.settings.model_name, test)}" for name, test in metrics["tests"].items()]
        return "\n\n".join(tables) + f"\n{self.closing_lines(metrics)}"

    def _validate(self) -> dict[str, float]:
        """Mean of each error over the data sets."""
        found = [
            self.measured(loader, label=f"validation on {series.name}").values()
            for series, loader in zip(self.all_series, self.validations, strict=True)
        ]
        return {name: sum(values[name] for values in found) / len(found) for name in found[0]}

    def _diagnostics(self) -> dict[str, Tensor]:
        return {}

    def _spec(self, part: Part, series: SeriesInfo) -> ForecastSpec:
        data, runtime = part.data, self.runtime
        return forecast_spec(
            series, seq_len=data.seq_len, pred_len=data.pred_len, dtype=runtime.dtype, device=runtime.device
        )

    def _training_loaders(self) -> list[Loader]:
        loaders = []
        for task, part in enumerate(self.parts):
            first = self._loader(task, "train")
            for repeat in range(part.repeats):
                loader = copy(first)
                loader.seed = first.seed + SECOND_SEED * repeat
                loaders.append(loader)
        return loaders

    def _loader(self, task: int, split: Split, horizon: int | None = None) -> Loader:
        part = self.parts[task]
        data = part.data if horizon is None else replace(part.data, pred_len=horizon)
        loader = split_loader(self.runtime, self.model, self.all_series[task], split, data=data, train=part.train)
        loader.features = TaskInputs(task, data.pred_len)
        return loader


def check_joint(settings: Settings) -> None:
    """Check that the model can be trained on several data sets (ValueError)."""
    if settings.model_class.build_joint.__func__ is Forecaster.build_joint.__func__:
        raise ValueError(
            f"--model {settings.model_name} is trained on one data set: name one with --data, or choose UniTime"
        )


def _together(series: list[Series]) -> Series:
    """The first series under the names of all, for the record of the run."""
    fingerprints = "".join(one.fingerprint for one in series)
    return replace(
        series[0],
        name="+".join(one.name for one in series),
        fingerprint=hashlib.sha256(fingerprints.encode()).hexdigest(),
    )
