"""Our results beside published ones, and two of our models beside each other with a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.report.finished_runs import Run, UnusableRun, read_arrays
from utils.report.result_groups import AVERAGE, ResultGroup
from utils.report.result_rows import Frame
from utils.report.result_tables import score_cell
from utils.report.significance import MIN_BLOCKS, PairedTest, holm, paired_test
from utils.report.table import MISSING, Cell, Table
from utils.terminal import measure_title

PUBLISHED = Path(__file__).parent / "published"
# Published names of models that --model spells otherwise.
OUR_NAMES = {"Time-LLM": "TimeLLM"}
# The look-back of published figures that each model's own repository made with a look-back of its own.
OWN = "own"
FEW = 3
# What papers average over; the second one for ILI.
PUBLISHED_HORIZONS = ({96, 192, 336, 720}, {24, 36, 48, 60})


def published_accuracy() -> Frame:
    """Published test errors in scaled units, each with its source; models are called as by `--model`.

    `seq_len` may be "own", `pred_len` "avg".
    """
    figures = pd.read_csv(PUBLISHED / "accuracy.csv", dtype={"seq_len": str, "pred_len": str})
    figures["model"] = figures["model"].replace(OUR_NAMES)
    return figures.rename(columns={"dataset": "data", "pred_len": "horizon"}).fillna({"note": ""})


def published_efficiency() -> Frame:
    """Published parameter counts, memory and time as texts; an empty text is a figure that the paper does not give."""
    return pd.read_csv(PUBLISHED / "efficiency.csv", dtype=str, keep_default_na=False)


def against_published(group: ResultGroup, published: Frame, *, own_look_back: bool = False) -> Table | None:
    """Ours, the published figure and the difference, for every model that has published figures for this group.

    None if there are none; never for runs with a label, for other features than M, or across look-backs, except with
    `own_look_back` beside the figures (and only them) made with the look-back of each model's own repository.
    """
    models = group.rows.groupby("name")["model"].first().loc[group.main_names].reset_index()
    pairs = _published_cells(group).merge(models, how="cross")
    pairs = pairs.merge(_figures_of(group, published, OWN if own_look_back else str(group.seq_len)))
    rows, used = [], []
    for place, figure in enumerate(pairs.itertuples()):
        heads = [figure.data, figure.horizon, figure.name]
        ours = {measure: group.score_by_cell.get((*heads, measure)) for measure in ("mse", "mae")}
        if ours["mse"]:
            beside = [_beside(score, getattr(figure, measure)) for measure, score in ours.items()]
            rows.append((heads, [cell for cells in beside for cell in cells]))
            used.append(place)
    if not rows:
        return None
    columns = [(measure, part) for measure in ("MSE", "MAE") for part in ("ours", "published", "difference")]
    notes = [
        "difference = ours - published, and in percent of the published number: negative is better than published."
    ]
    what = "published numbers of the models' own look-backs" if own_look_back else "published numbers"
    title = f"Beside {what}: {group.title}"
    return Table(title, ["data", "horizon", "model"], columns, rows, notes + _sources(pairs.iloc[used]))


def published_table(group: ResultGroup, published: Frame) -> Table | None:
    """All published figures for this group's data sets and horizons, models side by side; None if there are none."""
    cells = _published_cells(group)
    figures = _figures_of(group, published, str(group.seq_len))
    figures = figures[pd.MultiIndex.from_frame(figures[["data", "horizon"]]).isin(pd.MultiIndex.from_frame(cells))]
    if figures.empty:
        return None
    names = list(figures["model"].unique())
    values = figures.melt(["data", "horizon", "model"], ["mse", "mae"], "measure").drop_duplicates(
        ["data", "horizon", "model", "measure"], keep="last"
    )
    values["rank"] = values.groupby(["data", "horizon", "measure"])["value"].rank("dense")
    texts = {
        tuple(key): MISSING if np.isnan(value) else Cell(f"{value:.3f}", int(rank) if rank <= 2 else 0)
        for *key, value, rank in values.itertuples(index=False)
    }
    given = set(zip(figures["data"], figures["horizon"], strict=True))
    columns = [(name, measure) for name in names for measure in ("mse", "mae")]
    rows = [
        ([data, horizon], [texts.get((data, horizon, *column), MISSING) for column in columns])
        for data, horizon in cells.itertuples(index=False)
        if (data, horizon) in given
    ]
    notes = ["Copied from papers, not run here; best bold, second underlined.", *_sources(figures)]
    titles = [(name, measure_title(measure)) for name, measure in columns]
    return Table(f"Published: {group.title}", ["data", "horizon"], titles, rows, notes)


def significance_table(
    group: ResultGroup, first: str, second: str, runs: Sequence[Run], *, measure: str = "mse"
) -> tuple[Table | None, list[str]]:
    """Paired test of two models (names as in the tables) over the window errors of the seeds that both have.

    Returns the table (None if the two share no cell of this group) and what could not be tested, with its reason.
    """
    by_folder = {str(run.folder.path): run for run in runs}
    tests: list[tuple[str, int, int, PairedTest]] = []
    problems: list[str] = []
    for (data, horizon), rows in group.trained_rows.groupby(["data", "pred_len"]):
        folders = rows.pivot(index="seed", columns="name", values="folder").reindex(columns=[first, second]).dropna()
        if folders.empty:
            continue
        try:
            errors = [
                np.mean([_window_errors(by_folder[folder], data, measure) for folder in folders[name]], axis=0)
                for name in (first, second)
            ]
            tests.append((data, horizon, len(folders), paired_test(*errors, horizon=horizon)))
        except (UnusableRun, ValueError) as error:
            problems.append(f"{first} and {second} on {data}, horizon {horizon}: {error}")
    return (_significance(group, first, second, measure, tests) if tests else None), problems


def _significance(
    group: ResultGroup, first: str, second: str, measure: str, tests: Sequence[tuple[str, int, int, PairedTest]]
) -> Table:
    corrected = holm([test.p_bootstrap for *_, test in tests])
    rows = []
    for (data, horizon, num_seeds, test), p_holm in zip(tests, corrected, strict=True):
        interval = "{:+.4f} to {:+.4f}".format(*test.interval) if test.interval else "-"
        texts = [f"{test.difference:+.4f}", interval, _p(test.p_bootstrap), _p(p_holm), _p(test.p_wilcoxon)]
        texts += [f"{test.num_windows:,}", str(test.num_blocks), str(num_seeds)]
        rows.append(([data, str(horizon)], [Cell(text, missing=text == "-") for text in texts]))
    columns = [("difference", "mean"), ("difference", "95 % interval"), ("p", "bootstrap"), ("p", "Holm")]
    columns += [("p", "Wilcoxon"), ("number of", "windows"), ("number of", "blocks"), ("number of", "seeds")]
    notes = [
        f"difference = {measure_title(measure)} of {first} - {second} per test window, averaged over shared seeds: "
        f"negative means that {first} is better.",
        "Test windows overlap, so they are not independent: the bootstrap draws blocks of twice as many windows as the "
        "horizon has steps, and Wilcoxon's test compares the means of disjoint blocks of that length. Holm corrects "
        "the bootstrap's p for the number of rows.",
        f"-: fewer than {MIN_BLOCKS} blocks, too few for a test. The tests are about the windows of this test split; "
        "the scatter between seeds is in the accuracy table.",
    ]
    title = f"{first} against {second}: {group.title}"
    return Table(title, ["data", "horizon"], columns, rows, notes, group.warning)


def _window_errors(run: Run, data: str, measure: str) -> np.ndarray:
    if data != run.data:
        raise UnusableRun("zero-shot runs keep no errors per window")
    arrays = read_arrays(run.folder.window_errors, run)[0]
    if measure not in arrays or arrays[measure].ndim != 1 or not arrays[measure].size:
        raise UnusableRun(f"{run.folder.window_errors} holds no {measure!r} by window")
    errors = arrays[measure].astype(np.float64)
    if not np.isclose(errors.mean(), run.tests[data][measure], rtol=1e-2):
        raise UnusableRun(f"{run.folder.path.name} was not tested on every window (a trial run?)")
    return errors


def _figures_of(group: ResultGroup, published: Frame, look_back: str) -> Frame:
    if group.labelled or group.features != "M":
        return published[:0]
    return published[(published["seq_len"] == look_back) & (published["percent"] == group.percent)]


def _published_cells(group: ResultGroup) -> Frame:
    """The cells of the group without averages over other horizons than those of the papers."""
    averaged = {data for data, horizons in group.horizons.items() if set(horizons) in PUBLISHED_HORIZONS}
    cells = [(data, horizon) for data, horizon in group.cells if horizon != AVERAGE or data in averaged]
    return pd.DataFrame(cells, columns=["data", "horizon"])


def _beside(score: Any, published: float) -> list[Cell]:
    """Our score (None if there is no run), the published figure (may be NaN) and the difference."""
    cells = [MISSING if score is None else score_cell(score)]
    if np.isnan(published):
        return [*cells, MISSING, MISSING]
    cells.append(Cell(f"{published:.3f}"))
    if score is None or not score.complete:
        return [*cells, MISSING]
    difference = score.mean - published
    return [*cells, Cell(f"{difference:+.3f} ({100 * difference / published:+.1f} %)")]


def _sources(figures: Frame) -> list[str]:
    notes = [f"Source: {source}." for source in figures["source"].unique()]
    for note, noted in figures[figures["note"] != ""].groupby("note", sort=False):
        which = [f"{figure.model} on {figure.data}, horizon {figure.horizon}" for figure in noted.itertuples()]
        notes.append(f"{'; '.join(which) if len(which) <= FEW else f'{len(which)} of these figures'}: {note}.")
    return notes


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
