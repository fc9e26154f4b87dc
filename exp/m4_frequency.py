"""One frequency of M4 as a run of its own: the long-term experiment over many short series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data_provider.loader import Loader
from data_provider.m4 import M4Data
from data_provider.splits import Split
from exp.exp_basic import Settings
from exp.exp_long_term_forecast import LongTermForecast
from exp.m4_scores import ForecastTable, M4Reference, score_table
from exp.training.evaluation import split_errors
from exp.training.loop import TrainingLoop
from utils.checkpoint import pack, save_checkpoint
from utils.files import replace_file
from utils.plotting import plot_forecast, plot_training_curves

NUM_SERIES_IN_PLOT = 4
MEASURES = ["smape", "mase", "owa"]


class FrequencyForecast(LongTermForecast):
    """One frequency: validation is the last horizon of the training series, the test series are read once."""

    monitor: ClassVar[str] = "smape"

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

    def load(self) -> M4Data:
        """The series of the frequency."""
        return self.data

    def test_entries(self) -> dict[str, Any]:
        """The competition's scores of the test series; every forecast is left in the run folder as CSV."""
        forecast, scores = self._scores(self.test, "test")
        reference = self.references["test"]
        naive2 = {"Naive2": reference.scores(reference.naive2, forecast.seen())}
        if self.runtime.is_main:
            self._save_forecasts(self._original(forecast))
        return {"tests": {self.series.name: {"measures": MEASURES, **scores, "naive": naive2}}}

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """The scores beside Naive2's, the labels and the place of the record."""
        return f"{score_table(self.settings.model_name, metrics['tests'])}\n{self.closing_lines(metrics)}"

    def _validate(self) -> dict[str, float]:
        _, scores = self._scores(self.validation, "validation")
        return {name: scores[name] for name in (*MEASURES, "mse", "mae")}

    def _scores(self, loader: Loader, name: Split) -> tuple[ForecastTable, dict[str, Any]]:
        """The table of forecasts in scaled units; scores in original ones, `mse` and `mae` in scaled units."""
        if name not in self.references:
            self.references[name] = M4Reference.of(self.data, name)
        table = ForecastTable(
            num_series=len(self.data.ids), horizon=self.data.frequency.horizon, device=self.runtime.device
        )
        sums = split_errors(self.runtime, self.model, loader, label=name, observers=[table])
        table.reduce(self.runtime.sum_over_processes)
        scores = self.references[name].scores(self._original(table), table.seen())
        return table, {**scores, "mse": sums.mse, "mae": sums.mae, "num_rows": sums.num_rows}

    def _original(self, table: ForecastTable) -> np.ndarray:
        return table.values.cpu().numpy() * self.data.scales[:, None]

    def _save_forecasts(self, values: Float[np.ndarray, "series horizon"]) -> None:
        """In the competition's own layout (a row a series: id, F1, F2, ...), and a picture of a few of them."""
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
        """Everything but metrics.json first: its presence says that the run is finished."""
        if before:
            states = {**pack("before", before), **pack("after", self._diagnostics())}
            save_checkpoint(self.folder.alignment, states, {"split": "validation"})
        if loop.progress.history:
            plot_training_curves(
                self.folder.plots / "training.png",
                epochs=loop.progress.history,
                title=f"{self.settings.model_name} on {self.series.name}",
                label=", ".join(self._labels()) or None,
            )
        self.folder.write_metrics(metrics)
        return {}
