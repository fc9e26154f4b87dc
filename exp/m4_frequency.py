"""The run of one M4 frequency: a long-term forecast experiment over many short series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data_provider.m4 import M4Data
from data_provider.splits import Split
from exp.exp_basic import Settings
from exp.exp_long_term_forecast import LongTermForecast
from exp.m4_scores import M4Reference, M4Scores, score_table
from exp.training.loop import TrainingLoop
from utils.checkpoint import pack, save_checkpoint
from utils.files import replace_file
from utils.plotting import plot_forecast, plot_training_curves

NUM_SERIES_IN_PLOT = 4


class FrequencyForecast(LongTermForecast):
    """Experiment on one frequency; validation targets are the last horizon of the training series."""

    def __init__(self, settings: Settings, data: M4Data):
        horizon = data.frequency.horizon
        loss = "smape" if settings.train.loss == "default" else settings.train.loss
        self.data = data
        self.references: dict[Split, M4Reference] = {}
        super().__init__(
            replace(
                settings,
                data=replace(settings.data, seq_len=2 * horizon, pred_len=horizon, features="S"),
                train=replace(settings.train, loss=loss),
            )
        )
        for split in ("validation", "test"):
            self._m4_scores(split)

    @property
    def monitor(self) -> str:
        """The validation error that says which epoch is the best."""
        return "smape"

    def load(self) -> M4Data:
        """The data of the frequency."""
        return self.data

    def test_entries(self) -> dict[str, Any]:
        """Score the test series as in the competition, and save every forecast as CSV in the run folder."""
        scores = self._m4_scores("test")
        values = self.measured(self.test, label="test", more=[scores]).values()
        if self.writes_record:
            self._save_forecasts(scores.forecast())
        return {"tests": {self.series.name: {"measures": list(values), **values, **scores.test_entry()}}}

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """A table of the scores next to those of Naive2, and a summary of the run and its files."""
        return f"{score_table(self.settings.model_name, metrics['tests'])}\n{self.closing_lines(metrics)}"

    def _validate(self) -> dict[str, float]:
        scores = self._m4_scores("validation")
        return self.measured(self.validation, label="validation", more=[scores]).values()

    def _m4_scores(self, split: Split) -> M4Scores:
        if split not in self.references:
            self.references[split] = M4Reference.of(self.data, split)
        return M4Scores(self.references[split], self.data.scales, device=self.runtime.metric_device)

    def _save_forecasts(self, values: Float[np.ndarray, "series horizon"]) -> None:
        """Save the forecasts in the competition's layout (a row per series: id, F1, F2, ...), and plot a few."""
        ids, horizon = self.data.ids, self.data.frequency.horizon
        header = ",".join(["id", *(f"F{step + 1}" for step in range(horizon))])
        lines = [",".join([key, *(f"{value:.6g}" for value in row)]) for key, row in zip(ids, values, strict=True)]
        replace_file(self.folder.forecast_table, "\n".join([header, *lines, ""]).encode())
        shown = np.unique(np.linspace(0, len(ids) - 1, NUM_SERIES_IN_PLOT).astype(int))
        length = min(4 * horizon, *(len(self.data.train[number]) for number in shown))
        plot_forecast(
            self.folder.plots / "forecast.png",
            look_back=np.stack([self.data.train[number][-length:] for number in shown], axis=1),
            target=self.data.test[shown].T,
            forecast=values[shown].T,
            columns=[ids[number] for number in shown],
            title=f"{self.settings.model_name} on {self.series.name}",
            label=", ".join(self._labels()) or None,
        )

    def _close_record(self, metrics: dict[str, Any], loop: TrainingLoop, before: dict[str, Tensor]) -> dict[str, Any]:
        """Write the run folder, metrics.json last since it marks a finished run."""
        if before:
            states = {**pack("before", before), **pack("after", self._diagnostics())}
            save_checkpoint(self.folder.alignment, states, {"split": "validation", "run_id": self.run_id})
        if loop.progress.history:
            plot_training_curves(
                self.folder.plots / "training.png",
                epochs=loop.progress.history,
                title=f"{self.settings.model_name} on {self.series.name}",
                label=", ".join(self.labels_of_pictures()) or None,
                best_epoch=metrics["validation"]["best_epoch"],
            )
        self.folder.write_metrics(metrics)
        return {}
