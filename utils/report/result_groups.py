"""Results that may stand in one table: of one task, look-back, percent and features, so that these are never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from utils.report.result_rows import CELL, MEASURES, NO_SEED, Row, grouped, key_of
from utils.report.table import Cell

AVERAGE = "avg"
Horizon = int | str


@dataclass(frozen=True)
class Score:
    """One measure of one model in one cell: mean and sample standard deviation over the seeds that are there."""

    values: tuple[float, ...]
    num_expected: int

    @property
    def complete(self) -> bool:
        return len(self.values) >= self.num_expected

    @property
    def mean(self) -> float:
        return fmean(self.values)

    def cell(self, rank: int = 0) -> Cell:
        """`-` with the number of seeds that are there, unless all are."""
        if not self.complete:
            return Cell(f"- ({len(self.values)}/{self.num_expected} seeds)", missing=True)
        digits = 3 if abs(self.mean) < 100 else 1
        spread = f" ± {stdev(self.values):.{digits}f}" if len(self.values) > 1 else ""
        return Cell(f"{self.mean:.{digits}f}{spread}", rank)


@dataclass(frozen=True)
class Track:
    """All rows that may stand in one table; `labelled` ones are no paper results."""

    labelled: bool
    task_name: str
    features: str
    seq_len: int
    percent: int
    rows: list[Row]

    @property
    def title(self) -> str:
        parts = [
            self.task_name.replace("_", " "),
            f"look-back {self.seq_len}",
            f"{self.percent} % of the training rows",
        ]
        return ", ".join([*parts, *([f"features {self.features}"] if self.features != "M" else [])])

    @property
    def warning(self) -> str:
        labels = dict.fromkeys(label for row in self.rows for label in row["labels"].split(", ") if label)
        return f"Not paper results: {', '.join(labels)}" if self.labelled else ""

    @property
    def measures(self) -> list[str]:
        return [name for name in MEASURES if any(row.get(name) is not None for row in self.rows)]

    @property
    def horizons(self) -> dict[str, list[int]]:
        """Data set -> its horizons in this track."""
        return {data: sorted({row["pred_len"] for row in rows}) for (data,), rows in grouped(self.rows, ["data"])}

    @property
    def cells(self) -> list[tuple[str, Horizon]]:
        """(data set, horizon) in reading order, with the average after a data set of several horizons."""
        found: list[tuple[str, Horizon]] = []
        for data, horizons in self.horizons.items():
            found += [(data, horizon) for horizon in horizons]
            found += [(data, AVERAGE)] if len(horizons) > 1 else []
        return found

    @property
    def names(self) -> list[str]:
        """Models with their variants, in reading order; the naive forecasts come last."""
        naive = {name: all(row["seed"] == NO_SEED for row in rows) for (name,), rows in grouped(self.rows, ["name"])}
        return sorted(naive, key=lambda name: (naive[name], name.lower()))

    @property
    def variants(self) -> dict[str, list[str]]:
        """Model -> its names, for each model that stands here both as it is and with flags changed (ablations)."""
        by_model = {model: {row["name"] for row in rows} for (model,), rows in grouped(self.rows, ["model"])}
        return {
            model: [name for name in self.names if name in names]
            for model, names in by_model.items()
            if len(names) > 1 and model in names
        }

    @property
    def main_names(self) -> list[str]:
        """The names without the ablations, which have a table of their own."""
        ablations = {name for model, names in self.variants.items() for name in names if name != model}
        return [name for name in self.names if name not in ablations]

    @property
    def trained_rows(self) -> list[Row]:
        return [row for row in self.rows if row["seed"] != NO_SEED]

    @property
    def expected_seeds(self) -> list[int]:
        """Every seed that any model of the track was run with: a complete cell has them all."""
        return sorted({row["seed"] for row in self.trained_rows})

    def score(self, data: str, horizon: Horizon, name: str, measure: str) -> Score | None:
        """None if there is no run at all."""
        rows = [row for row in self.rows if row["data"] == data and row["name"] == name]
        horizons = self.horizons[data] if horizon == AVERAGE else [horizon]
        rows = [row for row in rows if row["pred_len"] in horizons and row.get(measure) is not None]
        if not rows:
            return None
        by_seed = [[row[measure] for row in of_seed] for _, of_seed in grouped(rows, ["seed"])]
        values = tuple(fmean(values) for values in by_seed if len(values) == len(horizons))
        # A model without trainable weights gives the same forecasts for every seed: one run is all of them.
        nothing_trained = all(row.get("trainable") == 0 for row in rows)
        return Score(values, 1 if nothing_trained else len(self.expected_seeds))


def tracks(rows: Sequence[Row], naive: Sequence[Row]) -> list[Track]:
    """The tracks of all rows, paper results first; `naive` rows join the track of the runs that carried them."""
    by_place: dict[tuple, Row] = {}
    for row in sorted(naive, key=lambda row: len(row["labels"])):
        by_place.setdefault(_place(row), row)
    known = {_place(row) for row in rows}
    rows = [{**row, "labelled": bool(row["labels"])} for row in rows]
    rows += [{**row, "labelled": bool(row["labels"])} for place, row in by_place.items() if place not in known]
    found = grouped(rows, ["labelled", "task_name", "features", "seq_len", "percent"])
    return [Track(*key, rows=_names_with_labels(of_track)) for key, of_track in found]


def _place(row: Row) -> tuple:
    """The column and row of the table that the result belongs to."""
    return bool(row["labels"]), *key_of(row, [name for name in CELL if name != "labels"])


def _names_with_labels(rows: list[Row]) -> list[Row]:
    """The same rows; where one model has runs with different labels, its name says which, so that none are averaged."""
    labels = {name: {row["labels"] for row in of_name} for (name,), of_name in grouped(rows, ["name"])}
    return [
        {**row, "name": f"{row['name']} [{row['labels']}]"}
        if len(labels[row["name"]]) > 1 and row["seed"] != NO_SEED
        else row
        for row in rows
    ]
