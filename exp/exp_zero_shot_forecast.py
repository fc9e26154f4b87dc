"""Zero-shot forecasting: train on one data set and test on others, each scaled by its own scaler."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers.hf_argparser import HfArg

from data_provider.batches.loader import Loader
from data_provider.config import READING_FLAGS, DataConfig
from data_provider.data_factory import load_data
from data_provider.datasets import CUSTOM, DATASETS
from data_provider.series import SeriesInfo, WindowSource
from exp.exp_basic import Settings
from exp.exp_long_term_forecast import LongTermForecast
from exp.training.evaluation import naive_values
from exp.training.loop import TrainingLoop
from exp.training.state import load_weights
from models.base import ForecastSpec
from utils.checkpoint import load_checkpoint
from utils.report.format_1 import upgrade_header
from utils.run_folder import RunFolder
from utils.schemas.checking import checked
from utils.schemas.headers import BestHeader, ModelHeader
from utils.terminal import error_table

logger = logging.getLogger(__name__)


OF_CUSTOM_TARGET = (
    "target_data_path",
    "target_columns",
    "target_split",
    "target_date_column",
    "target_date_format",
)


@dataclass(frozen=True)
class ZeroShotConfig:
    """Flags of the target data sets and of a finished source run."""

    target_data: list[str] = HfArg(default_factory=list, help="Data sets to test on; the model is not trained on them")
    source_run: str = HfArg(
        default="", help="Run folder of a finished run of the same model to test, instead of training on --data"
    )

    target_data_path: str | None = HfArg(
        default=None, help="table of --target_data custom, as --data_path", metadata={"role": "reading"}
    )
    target_columns: str | None = HfArg(
        default=None, help="channels of --target_data custom, as --columns", metadata={"role": "reading"}
    )
    target_split: str | None = HfArg(
        default=None, help="split of --target_data custom, as --split", metadata={"role": "reading"}
    )
    target_date_column: str | None = HfArg(
        default=None, help="dates of --target_data custom, as --date_column", metadata={"role": "reading"}
    )
    target_date_format: str | None = HfArg(
        default=None, help="layout of the dates of --target_data custom, as --date_format", metadata={"role": "reading"}
    )

    def __post_init__(self) -> None:
        if not self.target_data:
            raise ValueError("--task_name zero_shot_forecast needs --target_data NAME ..., for example ETTm1 ETTm2")
        is_custom = CUSTOM in self.target_data
        if is_custom and self.target_data_path is None:
            raise ValueError("--target_data custom needs --target_data_path FILE (a table of your own)")
        given = [name for name in OF_CUSTOM_TARGET if getattr(self, name) is not None]
        if given and not is_custom:
            raise ValueError(f"{', '.join('--' + name for name in given)} only has a meaning with --target_data custom")

    def target(self, name: str, source: DataConfig) -> DataConfig:
        """The data flags of a target; those of reading are its own."""
        own = dict.fromkeys(("data_path", "split", *READING_FLAGS), None)
        if name == CUSTOM:
            own |= {flag.removeprefix("target_"): getattr(self, flag) for flag in OF_CUSTOM_TARGET}
        return replace(source, data=name, **own)


class ZeroShotForecast(LongTermForecast):
    """The task `zero_shot_forecast`.

    Each target is scaled by its own training split and tested on every window of its test split. Its number of channels
    may differ from the source if the model's weights do not depend on it.
    """

    task_configs = (ZeroShotConfig,)

    def __init__(self, settings: Settings):
        self.config: ZeroShotConfig = next(c for c in settings.task if isinstance(c, ZeroShotConfig))
        super().__init__(settings)
        for name, series in self.targets.items():
            if series.num_channels != self.series.num_channels:
                self._allow_other_channels(name, series.num_channels)
        self.target_loaders = {name: self.loader_of(series, "test") for name, series in self.targets.items()}
        self.source = self._source_weights() if self.config.source_run else None

    def load(self) -> WindowSource:
        """The source; the targets are read too."""
        self.targets: dict[str, WindowSource] = {}
        # The names that the flags have for them.
        self.flags_of: dict[str, str] = {}
        for flag in dict.fromkeys(self.config.target_data):
            series = load_data(self.config.target(flag, self.settings.data))
            if series.name in self.targets:
                raise ValueError(f"--target_data names two data sets called {series.name}: rename the file of your own")
            self.targets[series.name], self.flags_of[series.name] = series, flag
        return super().load()

    def determinants(self) -> dict[str, Any]:
        """As of any run, and the content of targets that are not known to be the registry's files."""
        others = {
            name: series.fingerprint
            for name, series in self.targets.items()
            if self._is_own(name) or DATASETS[self.flags_of[name]].sha256 != series.fingerprint
        }
        return super().determinants() | ({"targets": others} if others else {})

    def data_used(self) -> list[tuple[str, SeriesInfo]]:
        """The source and the targets."""
        return [*super().data_used(), *((self.flags_of[name], series) for name, series in self.targets.items())]

    def test_entries(self) -> dict[str, Any]:
        """Test on each target. Returns `tests` of metrics.json."""
        tests = {}
        for name, series in self.targets.items():
            loader = self.target_loaders[name]
            metrics = self.measured(loader, label=f"test on {name}")
            self.window_errors[series.name] = metrics.window_values()["mse"]
            naive = naive_values(self.runtime, loader, self.spec_of(series))
            # A table of one's own may be called like a data set.
            own = {"own_file": series.fingerprint} if self._is_own(name) else {}
            tests[name] = {**self.summary_of(metrics, series), "naive": naive, **own}
        return {"tests": tests}

    def tested_name(self) -> str:
        """Source and targets: a zero-shot run must not be taken for one on the source."""
        (targets,) = (config.target_data for config in self.settings.task if isinstance(config, ZeroShotConfig))
        return f"zero-shot_{self.series.name}-to-{'-'.join(targets)}"

    def shown_tests(self) -> list[tuple[SeriesInfo, Loader, ForecastSpec]]:
        """Every target; the source's test split is not used."""
        return [(series, self.target_loaders[name], self.spec_of(series)) for name, series in self.targets.items()]

    def fit(self, loop: TrainingLoop) -> dict[str, Any]:
        """Train on the source, or load the weights of `--source_run`."""
        if self.source is None:
            return super().fit(loop)
        header = load_weights(self.source, self.model)
        return {
            "source_run": self.config.source_run,
            "validation": {**header["validation"], "best_epoch": header["epoch"]},
            "epochs": 0,
            "steps": 0,
            "rows_per_second": 0.0,
            "seconds_per_step": 0.0,
        }

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """A table of test errors per target, and a summary of the run and its files."""
        tables = [
            f"{self.series.name} -> {name}\n{error_table(self.settings.model_name, test)}"
            for name, test in metrics["tests"].items()
        ]
        return "\n\n".join(tables) + f"\n{self.closing_lines(metrics)}"

    def _is_own(self, name: str) -> bool:
        return self.flags_of[name] == CUSTOM

    def _allow_other_channels(self, name: str, num_channels: int) -> None:
        if self.model.needs_fixed_channels:
            raise ValueError(
                f"--target_data {name} has {num_channels} channels and --data {self.series.name} "
                f"{self.series.num_channels}: the weights of {self.settings.model_name} depend on their number"
            )
        logger.info(
            "%s has %d channels instead of %d: the weights of %s do not depend on their number",
            name, num_channels, self.series.num_channels, self.settings.model_name,
        )  # fmt: skip

    def _source_weights(self) -> Path:
        """The checkpoint of `--source_run`. Raises ValueError if its model, data or window flags differ from ours."""
        folder = RunFolder(Path(self.config.source_run))
        path = folder.best
        _, header = load_checkpoint(path, run_id=folder.recorded_run_id())
        checked(checked(upgrade_header(header), ModelHeader, path), BestHeader, path)
        record = self.settings.record()
        found = {**header["data_config"], **header["model_config"], "model": header["model"]}
        wanted = {**record["data_config"], **record["model_config"], "model": record["model"]}
        for name in ("model", "data", "seq_len", "pred_len", "quantiles", *record["model_config"]):
            if found.get(name) != wanted[name]:
                raise ValueError(
                    f"--source_run {self.config.source_run} was trained with --{name} {found.get(name)}, but these "
                    f"flags say {wanted[name]}: give the same value, or train anew without --source_run"
                )
        return path
