"""Short-term forecasting on M4: one model per frequency, trained on SMAPE, scored by SMAPE, MASE and OWA."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from transformers.hf_argparser import HfArg

from data_provider.config import DataConfig
from data_provider.datasets import M4
from data_provider.m4 import FREQUENCIES, check_frequencies, load_m4
from exp.exp_basic import Experiment, FinishedRun, Settings
from exp.m4_frequency import FrequencyForecast
from exp.m4_scores import overall, score_table
from utils.run_folder import RunFolder

logger = logging.getLogger(__name__)
FLAGS_THAT_M4_READS = ("data", "root_path")
OVERALL = "M4"


@dataclass(frozen=True)
class M4Config:
    """Flag of the M4 frequencies."""

    m4_frequencies: list[str] = HfArg(
        default_factory=lambda: list(FREQUENCIES),
        help=f"Frequencies of M4, a model and run folder for each: {', '.join(FREQUENCIES)}",
    )


class ShortTermForecast(Experiment):
    """The task `short_term_forecast`: a separate run for each frequency; finished ones are skipped.

    The look-back is twice the frequency's horizon; the default `--loss` is SMAPE.
    """

    task_configs = (M4Config,)

    def __init__(self, settings: Settings):
        super().__init__(settings)
        check_data_flags(settings.data)
        if settings.model_class.reads_known_future and settings.model.known_future:
            raise ValueError("--known_future has no meaning for M4, whose series have no other columns: leave it out")
        if settings.model_class.needs_time_features:
            raise ValueError(
                f"--model {settings.model_name} reads dates, and the series of M4 have none: choose another model"
            )
        config = next(config for config in settings.task if isinstance(config, M4Config))
        root_path = Path(settings.data.root_path)
        check_frequencies(root_path, config.m4_frequencies)
        self.finished: dict[str, RunFolder] = {}
        self.waiting: dict[str, FrequencyForecast] = {}
        for name in dict.fromkeys(config.m4_frequencies):
            try:
                # The other frequencies of the command must not change the record or run id of this one.
                alone = replace(settings, task=(M4Config([name]),))
                self.waiting[name] = FrequencyForecast(alone, load_m4(root_path, name))
            except FinishedRun as finished:
                self.finished[name] = finished.folder
        self.closing_texts: list[str] = []
        if not self.waiting:
            raise FinishedRun(FinishedFrequencies(list(self.finished.values())))

    def run(self) -> dict[str, Any]:
        """Run each frequency that is not finished. Returns the scores of all."""
        tests: dict[str, Any] = {}
        for name, folder in self.finished.items():
            logger.info("%s is finished already: %s", name, folder.path)
            tests |= folder.read_metrics()["tests"]
        while self.waiting:
            experiment = self.waiting.pop(next(iter(self.waiting)))
            metrics = experiment.run()
            tests |= metrics["tests"]
            self.closing_texts.append(experiment.closing_text(metrics))
        return metrics_of(tests)

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """The closing text of each frequency and, for several, a table of all scores."""
        table = [score_table(self.settings.model_name, metrics["tests"])] if len(metrics["tests"]) > 1 else []
        return "\n\n".join([*self.closing_texts, *table])


class FinishedFrequencies(RunFolder):
    """The run folders of all frequencies, read as one."""

    def __init__(self, folders: list[RunFolder]):
        super().__init__(folders[0].path)
        self.folders = folders

    def read_metrics(self) -> dict[str, Any]:
        """The scores of all frequencies."""
        return metrics_of({name: t for folder in self.folders for name, t in folder.read_metrics()["tests"].items()})


def metrics_of(tests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The scores of each frequency and, for several, their average."""
    together = {OVERALL: overall(tests)} if len(tests) > 1 else {}
    return {"data": OVERALL, "tests": {**tests, **together}}


def check_data_flags(data: DataConfig) -> None:
    """Check the data flags. Raises ValueError for another data set and for flags that M4 does not use."""
    if data.data != M4:
        raise ValueError(f"--task_name short_term_forecast needs --data {M4}, got {data.data}")
    given = [
        f"--{flag.name}"
        for flag in fields(data)
        if flag.name not in FLAGS_THAT_M4_READS and getattr(data, flag.name) != flag.default
    ]
    if given:
        raise ValueError(
            f"{', '.join(given)} cannot be chosen for --data {M4}: each frequency has its horizon, and the look-back "
            "is twice that (delete them; --m4_frequencies chooses among the frequencies)"
        )
