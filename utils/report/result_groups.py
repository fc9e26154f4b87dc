"""Groups of results that may stand in one table: those of one task, look-back, percent and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from utils.report.result_rows import CELL, NO_SEED, Frame

AVERAGE = "avg"
GROUP = ["labelled", "task_name", "features", "seq_len", "percent"]


@dataclass(frozen=True, eq=False)
class ResultGroup:
    """The rows (see `result_rows`) of one group; `labelled` ones are no paper results."""

    labelled: bool
    task_name: str
    features: str
    seq_len: int
    percent: int
    rows: Frame
    measures: list[str]

    @property
    def title(self) -> str:
        task = self.task_name.replace("_", " ")
        features = f", features {self.features}" if self.features != "M" else ""
        look_back = f"look-back {self.seq_len}" if self.seq_len else "models of different look-backs"
        return f"{task}, {look_back}, {self.percent} % of the training rows{features}"

    @property
    def key(self) -> tuple[bool, str, str, int]:
        """What the group's runs have in common besides the look-back."""
        return self.labelled, self.task_name, self.features, self.percent

    @property
    def warning(self) -> str:
        labels = dict.fromkeys(label for text in self.rows["labels"] for label in text.split(", ") if label)
        return f"Not paper results: {', '.join(labels)}" if self.labelled else ""

    @cached_property
    def horizons(self) -> dict[str, list[int]]:
        """Data set -> its horizons, in order."""
        return {str(data): sorted(set(horizons)) for data, horizons in self.rows.groupby("data")["pred_len"]}

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(data set, horizon) in reading order, with the average after a data set of several horizons."""
        found: list[tuple[str, str]] = []
        for data, horizons in self.horizons.items():
            found += [(data, str(horizon)) for horizon in horizons]
            found += [(data, AVERAGE)] if len(horizons) > 1 else []
        return found

    @cached_property
    def names(self) -> list[str]:
        """Models with their variants, in alphabetical order; the naive forecasts come last."""
        is_naive = (self.rows["seed"] == NO_SEED).groupby(self.rows["name"]).all()
        return sorted(map(str, is_naive.index), key=lambda name: (is_naive[name], name.lower()))

    @cached_property
    def variants(self) -> dict[str, list[str]]:
        """Model -> its names, for each model that stands here both as it is and with flags changed (ablations)."""
        found = {str(model): set(names) for model, names in self.rows.groupby("model")["name"]}
        return {
            model: [name for name in self.names if name in names]
            for model, names in found.items()
            if len(names) > 1 and model in names
        }

    @property
    def main_names(self) -> list[str]:
        """The names without the ablations, which have a table of their own."""
        ablations = {name for model, names in self.variants.items() for name in names if name != model}
        return [name for name in self.names if name not in ablations]

    @property
    def trained_rows(self) -> Frame:
        return self.rows[self.rows["seed"] != NO_SEED]

    @property
    def expected_seeds(self) -> list[int]:
        """Every seed that any model of the group was run with: a complete cell has them all."""
        return sorted(set(self.trained_rows["seed"]))

    @cached_property
    def scores(self) -> Frame:
        """Mean, sample standard deviation and number of seeds of each data, horizon, name and measure.

        `complete` is whether all seeds are there. A seed counts for the average over the horizons if it has them all.
        """
        rows = self.rows.assign(horizon=self.rows["pred_len"].astype(str), trainable=self.rows["trainable"].fillna(1))
        values = rows.melt(["data", "horizon", "name", "seed", "trainable"], self.measures, var_name="measure")
        values = values.dropna(subset="value")
        averages = (
            values.groupby(["data", "name", "seed", "measure"])
            .agg(value=("value", "mean"), num_horizons=("value", "size"), trainable=("trainable", "max"))
            .reset_index()
            .assign(horizon=AVERAGE)
        )
        num_expected = averages["data"].map(lambda data: len(self.horizons[data]))
        averages["value"] = averages["value"].where(averages["num_horizons"] == num_expected)
        statistics = {"mean": "mean", "deviation": "std", "num_seeds": "count"}
        by_cell = pd.concat([values, averages[num_expected > 1]]).groupby(["data", "horizon", "name", "measure"])
        scores = by_cell["value"].agg(**statistics).reset_index()
        # A model without trainable weights gives the same forecasts for every seed: one run stands for all.
        scores["num_expected"] = np.where(by_cell["trainable"].max() == 0, 1, len(self.expected_seeds))
        scores["complete"] = scores["num_seeds"] >= scores["num_expected"]
        return scores

    @cached_property
    def score_by_cell(self) -> dict[tuple[str, str, str, str], Any]:
        """The row of `scores` by (data, horizon, name, measure)."""
        return {(row.data, row.horizon, row.name, row.measure): row for row in self.scores.itertuples(index=False)}


def result_groups(rows: Frame, naive: Frame, measures: Sequence[str]) -> list[ResultGroup]:
    """The groups of all rows, paper results first; naive forecasts join the group of the runs that recorded them."""
    rows, naive = (frame.assign(labelled=frame["labels"] != "") for frame in (rows, naive))
    place = ["labelled", *(name for name in CELL if name != "labels")]
    # Of the same naive forecast with different labels, the one with the fewest.
    naive = naive.sort_values("labels", key=lambda labels: labels.str.len(), kind="stable").drop_duplicates(place)
    has_run = pd.MultiIndex.from_frame(naive[place]).isin(pd.MultiIndex.from_frame(rows[place]))
    joined: Any = pd.concat([rows, naive[~has_run]], ignore_index=True)
    groups = []
    for key, frame in joined.groupby(GROUP):
        shown = [name for name in measures if frame[name].notna().any()]
        groups.append(ResultGroup(*key, rows=_names_with_labels(frame), measures=shown))
    return groups


def across_look_backs(groups: Sequence[ResultGroup]) -> list[ResultGroup]:
    """Groups that differ only in the look-back as one more group (`seq_len` 0), with the look-back in each name.

    Only where one data set and horizon was run with several look-backs; naive forecasts are kept once.
    """
    found = []
    for key in dict.fromkeys(group.key for group in groups):
        alike = [group for group in groups if group.key == key]
        rows: Any = pd.concat([group.rows[group.rows["name"].isin(group.main_names)] for group in alike])
        trained = rows[rows["seed"] != NO_SEED]
        if trained.groupby(["data", "pred_len"])["seq_len"].nunique().max() > 1:
            is_naive = rows["seed"] == NO_SEED
            text = rows["seq_len"].map(lambda steps: f", look-back {steps}")
            joined = rows.assign(name=rows["name"].where(is_naive, rows["name"] + text))
            joined = joined[~(is_naive & joined.duplicated(["data", "pred_len", "name"]))]
            joined["model"] = joined["name"]
            found.append(replace(alike[0], seq_len=0, rows=joined.reset_index(drop=True)))
    return found


def _names_with_labels(rows: Frame) -> Frame:
    """The rows; if runs of one name have different labels, the name says which, so that they are never averaged."""
    several = (rows.groupby("name")["labels"].transform("nunique") > 1) & (rows["seed"] != NO_SEED)
    return rows.assign(name=rows["name"].mask(several, rows["name"] + " [" + rows["labels"] + "]"))
