"""One frequency of M4 as a run of its own: the long-term experiment over many short series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data_provider.data_factory import BatchLoader
from data_provider.m4 import M4Data
from data_provider.m4_windows import M4Windows, OneWindowPerSeries, m4_scales, m4_series
from data_provider.row_batches import RowBatches
from data_provider.row_store import RowStore
from data_provider.series import Series
from data_provider.splits import Split
from exp.exp_basic import Settings
from exp.exp_long_term_forecast import LongTermForecast
from exp.m4_scores import ForecastTable, M4Reference, score_table
from exp.training.data import DEV_RUN_STEPS, FirstSteps, SplitData
from exp.training.evaluation import split_errors
from exp.training.feature_cache import FeatureCache
from exp.training.loop import TrainingLoop
from models.base import Forecaster
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

    def load(self) -> Series:
        """What the series of the frequency have in common."""
        return m4_series(self.data)

    def split_of(self, series: Series, split: Split) -> SplitData:  # noqa: ARG002
        """Rows of single series; each training epoch visits every series once."""
        train, runtime = self.settings.train, self.runtime
        windows = M4Windows(self.data, split, device=runtime.device)
        share = {"process_index": runtime.process_index, "num_processes": runtime.num_processes, "seed": train.seed}
        if split == "train":
            order: RowBatches = OneWindowPerSeries(windows, batch_size=train.batch_size, **share)
        else:
            order = RowBatches(len(windows), batch_size=train.rows_per_evaluation_batch, shuffle=False, **share)
        has_constants = type(self.model).prompt_inputs is not Forecaster.prompt_inputs
        loader = BatchLoader(
            windows,
            order,
            constants=self.model.prompt_inputs if has_constants else None,
            store=RowStore(len(windows), budget=runtime.row_memory) if has_constants else None,
        )
        steps = FirstSteps(loader, DEV_RUN_STEPS) if train.fast_dev_run else loader
        return SplitData(
            windows, steps, FeatureCache(self.model, num_rows=len(windows), budget=runtime.row_memory), loader
        )

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

    def _scores(self, split: SplitData, name: Split) -> tuple[ForecastTable, dict[str, Any]]:
        """The table of forecasts in scaled units; scores in original ones, `mse` and `mae` in scaled units."""
        if name not in self.references:
            self.references[name] = M4Reference.of(self.data, name)
        table = ForecastTable(
            num_series=len(self.data.ids), horizon=self.data.frequency.horizon, device=self.runtime.device
        )
        sums = split_errors(self.runtime, self.model, split, label=name, observers=[table])
        table.reduce(self.runtime.sum_over_processes)
        scores = self.references[name].scores(self._original(table), table.seen())
        return table, {**scores, "mse": sums.mse, "mae": sums.mae, "num_rows": sums.num_rows}

    def _original(self, table: ForecastTable) -> np.ndarray:
        return table.values.cpu().numpy() * m4_scales(self.data)[:, None]

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
