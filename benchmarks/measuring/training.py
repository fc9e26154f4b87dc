"""Short training with the library's loop that measures time, validation error and memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data_provider.batches.loader import Loader
from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from data_provider.splits import Split
from exp.config import TrackConfig, TrainConfig
from exp.training.data import split_loader
from exp.training.evaluation import measure
from exp.training.loop import TrainingLoop
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.run_folder import RunFolder
from utils.tracking.config import Tracking


@dataclass
class Found:
    """Per epoch: seconds of training, seconds of training and validation, and validation MSE."""

    training: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    mse: list[float] = field(default_factory=list)


class ShortTraining:
    """Training of `model` on `data` without a test and without a run folder that is kept."""

    def __init__(self, model: Forecaster, data: DataConfig, train: TrainConfig) -> None:
        self.model, self.train, self.data = model, train, data
        self.runtime = Runtime(train, TrackConfig())
        self.series = load_series(data)

    def loader(self, split: Split) -> Loader:
        """Loader of a split."""
        return split_loader(self.runtime, self.model, self.series, split, data=self.data, train=self.train)

    def errors(self, loader: Loader) -> dict[str, float]:
        """Metrics of the model on a split."""
        return measure(self.runtime, self.model, loader, label="evaluation").values()

    def fit(self, training: Loader, validation: Loader, *, trained: Callable[[], None] = lambda: None) -> Found:
        """Train all epochs; `trained` is called between an epoch's last step and its validation."""
        found, began = Found(), time.perf_counter()

        def validate() -> dict[str, float]:
            nonlocal began
            found.training.append(time.perf_counter() - began)
            trained()
            errors = self.errors(validation)
            found.mse.append(errors["mse"])
            found.seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            return errors

        with tempfile.TemporaryDirectory() as place:
            folder = RunFolder(Path(place))
            folder.create()
            tracking = Tracking()
            loop = TrainingLoop(
                self.runtime,
                self.model,
                self.train,
                loader=training,
                validate=validate,
                folder=folder,
                tracking=tracking,
                header={},
            )
            began = time.perf_counter()
            loop.fit()
        return found
