"""M4 scores (SMAPE, MASE, OWA) of forecasts against their targets and Naive2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from data_provider.m4 import M4Data
from data_provider.splits import Split
from utils import m4_metrics
from utils.metrics import Evaluated, Metric
from utils.terminal import aligned


@dataclass(frozen=True, eq=False)
class M4Reference:
    """Targets, Naive2 forecasts and seasonal naive errors (0 if undefined) of a split, in original units."""

    target: Float[ndarray, "series horizon"]
    naive2: Float[ndarray, "series horizon"]
    naive_error: Float[ndarray, "series"]

    @classmethod
    def of(cls, data: M4Data, split: Split) -> Self:
        """Validation targets are the last horizon of the training series, test targets the test series."""
        horizon, season = data.frequency.horizon, data.frequency.season_length
        known = data.train if split == "test" else [series[:-horizon] for series in data.train]
        reference = cls(
            target=data.test if split == "test" else np.stack([series[-horizon:] for series in data.train]),
            naive2=np.stack([m4_metrics.naive2(series, horizon=horizon, season_length=season) for series in known]),
            naive_error=np.array([m4_metrics.seasonal_naive_error(series, season) for series in known]),
        )
        scores = reference._averages(reference.naive2, np.ones(len(known), bool))
        if min(scores.values()) <= 0:
            raise ValueError(
                f"{data.name}: Naive2 makes no error on the {split} of any series, as on constant ones, and "
                "scores relative to it are not defined: give series that vary"
            )
        return reference

    def scores(self, forecast: Float[ndarray, "series horizon"], chosen: ndarray) -> dict[str, float]:
        """Mean SMAPE and MASE of the chosen series, and OWA; a series with naive error 0 does not count in MASE."""
        ours, naive = (self._averages(values, chosen) for values in (forecast, self.naive2))
        owa = m4_metrics.owa(
            smape=ours["smape"], mase=ours["mase"], naive2_smape=naive["smape"], naive2_mase=naive["mase"]
        )
        return {**ours, "owa": owa}

    def _averages(self, forecast: ndarray, chosen: ndarray) -> dict[str, float]:
        scaled = chosen & (self.naive_error > 0)
        absolute = np.abs(forecast - self.target).mean(axis=1)
        return {
            "smape": float(m4_metrics.smape(forecast[chosen], self.target[chosen]).mean()),
            "mase": float((absolute[scaled] / self.naive_error[scaled]).mean()) if scaled.any() else 0.0,
        }


class M4Scores(Metric):
    """SMAPE, MASE and OWA over the series of a split, in original units."""

    def __init__(self, reference: M4Reference, scale: Float[ndarray, "series"], *, device: torch.device | str = "cpu"):
        self.reference, self.scale = reference, scale
        self.forecasts = torch.zeros(reference.target.shape, dtype=torch.float64, device=device)
        self.counts = torch.zeros(len(reference.target), dtype=torch.float64, device=device)

    def update(self, batch: Evaluated) -> None:
        self.forecasts[batch.window[:, 0]] = batch.forecast[..., 0].double()
        self.counts[batch.window[:, 0]] = 1

    def forecast(self) -> Float[ndarray, "series horizon"]:
        """The forecasts in original units; 0 for a series that was not forecast (a trial run)."""
        return self.forecasts.cpu().numpy() * self.scale[:, None]

    def values(self) -> dict[str, float]:
        return self.reference.scores(self.forecast(), self._is_forecast())

    def test_entry(self) -> dict[str, Any]:
        """The number of series that were forecast, and Naive2's scores on them."""
        naive2 = self.reference.scores(self.reference.naive2, self._is_forecast())
        return {"num_rows": int(self.counts.sum().item()), "naive": {"Naive2": naive2}}

    def _is_forecast(self) -> Bool[ndarray, "series"]:
        return self.counts.cpu().numpy() > 0


def overall(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Scores averaged over the series of several frequencies, with OWA from the averages, as in the competition."""
    weights = [target["num_rows"] for target in targets.values()]

    def averages(entries: list[Mapping[str, Any]]) -> dict[str, float]:
        return {
            name: sum(weight * entry[name] for weight, entry in zip(weights, entries, strict=True)) / sum(weights)
            for name in ("smape", "mase")
        }

    ours = averages(list(targets.values()))
    naive = averages([target["naive"]["Naive2"] for target in targets.values()])
    owa = m4_metrics.owa(smape=ours["smape"], mase=ours["mase"], naive2_smape=naive["smape"], naive2_mase=naive["mase"])
    return {**ours, "owa": owa, "num_rows": sum(weights), "naive": {"Naive2": {**naive, "owa": 1.0}}}


def score_table(model: str, targets: Mapping[str, Mapping[str, Any]]) -> str:
    """A text table of the scores of the model and of Naive2 for each set of series."""
    rows = []
    for name, target in targets.items():
        for method, scores in {model: target, **target["naive"]}.items():
            numbers = [f"{scores['smape']:.3f}", f"{scores['mase']:.3f}", f"{scores['owa']:.3f}"]
            rows.append([f"{name}, {target['num_rows']} series", method, *numbers])
    return aligned(["test", "method", "SMAPE", "MASE", "OWA"], rows)
