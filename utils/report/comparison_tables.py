"""Our results beside published numbers, and two of our models beside each other with a paired test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.finished_runs import Run, UnusableRun, read_arrays
from utils.report.published_numbers import PublishedAccuracy
from utils.report.result_groups import AVERAGE, Horizon, Track
from utils.report.result_rows import grouped
from utils.report.significance import MIN_BLOCKS, PairedTest, holm, paired_test
from utils.report.table import Cell, Table

MISSING = Cell("-", missing=True)
# What a published number has for a look-back where it is that of the model's own repository.
OWN = "own"
FEW = 3
# What papers average over; the second one for ILI.
PUBLISHED_HORIZONS = ({96, 192, 336, 720}, {24, 36, 48, 60})


def against_published(
    track: Track, published: Sequence[PublishedAccuracy], *, own_look_back: bool = False
) -> Table | None:
    """Ours, the published number and the difference, for every model that has published numbers of this track.

    None where there are none; never for runs with a label, for other features than M, or across look-backs, but with
    `own_look_back` beside the numbers (and only them) that were run with the look-back of each model's own repository.
    """
    figures = _of_track(track, published, str(OWN if own_look_back else track.seq_len))
    averaged = _averaged(track)
    models = {row["name"]: row["model"] for row in track.rows}
    rows, used = [], []
    for data, horizon in track.cells:
        if horizon == AVERAGE and data not in averaged:
            continue
        for name in track.main_names:
            for figure in figures:
                place = (figure.data, figure.pred_len, figure.model)
                if place == (data, str(horizon), models[name]) and track.score(data, horizon, name, "mse"):
                    rows.append(([data, str(horizon), name], _beside(track, data, horizon, name, figure)))
                    used.append(figure)
    if not rows:
        return None
    columns = [(measure, part) for measure in ("MSE", "MAE") for part in ("ours", "published", "difference")]
    notes = [
        "difference = ours - published, and in percent of the published number: negative is better than published."
    ]
    notes += _sources(used)
    what = "published numbers of the models' own look-backs" if own_look_back else "published numbers"
    return Table(f"Beside {what}: {track.title}", ["data", "horizon", "model"], columns, rows, notes)


def published_table(track: Track, published: Sequence[PublishedAccuracy]) -> Table | None:
    """All published numbers of this track's data sets and horizons, models side by side; None where there are none."""
    averaged = _averaged(track)
    wanted = [(data, str(horizon)) for data, horizon in track.cells if horizon != AVERAGE or data in averaged]
    figures = _of_track(track, published, str(track.seq_len))
    figures = [figure for figure in figures if (figure.data, figure.pred_len) in wanted]
    names = list(dict.fromkeys(figure.model for figure in figures))
    rows = []
    for data, horizon in wanted:
        of_cell = {figure.model: figure for figure in figures if (figure.data, figure.pred_len) == (data, horizon)}
        if of_cell:
            cells = [_published_cell(of_cell, name, measure) for name in names for measure in ("mse", "mae")]
            rows.append(([data, horizon], cells))
    if not rows:
        return None
    columns = [(name, measure) for name in names for measure in ("MSE", "MAE")]
    notes = ["Copied from papers, not run here; best bold, second underlined.", *_sources(figures)]
    return Table(f"Published: {track.title}", ["data", "horizon"], columns, rows, notes)


def significance_table(
    track: Track, first: str, second: str, runs: Sequence[Run], *, measure: str = "mse"
) -> tuple[Table | None, list[str]]:
    """Paired test of two models (names as in the tables) over the window errors of the seeds that both have.

    Returns the table (None where the two share no cell of this track) and what could not be tested, with its reason.
    """
    by_folder = {str(run.folder.path): run for run in runs}
    tests: list[tuple[str, int, int, PairedTest]] = []
    problems: list[str] = []
    for (data, horizon), rows in grouped(track.trained_rows, ["data", "pred_len"]):
        folders = [{row["seed"]: row["folder"] for row in rows if row["name"] == name} for name in (first, second)]
        seeds = sorted(folders[0].keys() & folders[1].keys())
        if not seeds:
            continue
        try:
            first_errors, second_errors = (
                np.mean([_window_errors(by_folder[of_seed[seed]], data, measure) for seed in seeds], axis=0)
                for of_seed in folders
            )
            tests.append((data, horizon, len(seeds), paired_test(first_errors, second_errors, horizon=horizon)))
        except (UnusableRun, ValueError) as error:
            problems.append(f"{first} and {second} on {data}, horizon {horizon}: {error}")
    return (_significance(track, first, second, measure, tests) if tests else None), problems


def _significance(
    track: Track, first: str, second: str, measure: str, tests: Sequence[tuple[str, int, int, PairedTest]]
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
        f"difference = {measure.upper()} of {first} - {second} per test window, averaged over shared seeds: negative "
        f"means that {first} is better.",
        "Test windows overlap, so they are not independent: the bootstrap draws blocks of twice as many windows as the "
        "horizon has steps, and Wilcoxon's test compares the means of disjoint blocks of that length. Holm corrects "
        "the bootstrap's p for the number of rows.",
        f"-: fewer than {MIN_BLOCKS} blocks, too few for a test. The tests are about the windows of this test split; "
        "the scatter between seeds is in the accuracy table.",
    ]
    title = f"{first} against {second}: {track.title}"
    return Table(title, ["data", "horizon"], columns, rows, notes, track.warning)


def _window_errors(run: Run, data: str, measure: str) -> np.ndarray:
    if data != run.data:
        raise UnusableRun("zero-shot runs keep no errors per window")
    arrays = read_arrays(run.folder.window_errors)[0]
    if measure not in arrays:
        raise UnusableRun(f"{run.folder.window_errors} holds no {measure!r}")
    errors = arrays[measure].astype(np.float64)
    if not np.isclose(errors.mean(), run.tests[data][measure], rtol=1e-2):
        raise UnusableRun(f"{run.folder.path.name} was not tested on every window (a trial run?)")
    return errors


def _of_track(track: Track, published: Sequence[PublishedAccuracy], look_back: str) -> list[PublishedAccuracy]:
    if track.labelled or track.features != "M":
        return []
    return [figure for figure in published if (figure.seq_len, figure.percent) == (look_back, track.percent)]


def _averaged(track: Track) -> set[str]:
    """The data sets whose average here is over the same horizons as that of the papers."""
    return {data for data, horizons in track.horizons.items() if set(horizons) in PUBLISHED_HORIZONS}


def _beside(track: Track, data: str, horizon: Horizon, name: str, figure: PublishedAccuracy) -> list[Cell]:
    cells = []
    for measure, published in (("mse", figure.mse), ("mae", figure.mae)):
        score = track.score(data, horizon, name, measure)
        cells += [score.cell() if score else MISSING, MISSING if published is None else Cell(f"{published:.3f}")]
        if score and score.complete and published is not None:
            difference = score.mean - published
            cells.append(Cell(f"{difference:+.3f} ({100 * difference / published:+.1f} %)"))
        else:
            cells.append(MISSING)
    return cells


def _published_cell(of_cell: dict[str, PublishedAccuracy], name: str, measure: str) -> Cell:
    values = {model: getattr(figure, measure) for model, figure in of_cell.items()}
    value = values.get(name)
    if value is None:
        return MISSING
    best = sorted({value for value in values.values() if value is not None})[:2]
    return Cell(f"{value:.3f}", best.index(value) + 1 if value in best else 0)


def _sources(figures: Sequence[PublishedAccuracy]) -> list[str]:
    notes = [f"Source: {source}." for source in dict.fromkeys(figure.source for figure in figures)]
    for note in dict.fromkeys(figure.note for figure in figures if figure.note):
        noted = [f"{f.model} on {f.data}, horizon {f.pred_len}" for f in figures if f.note == note]
        notes.append(f"{'; '.join(noted) if len(noted) <= FEW else f'{len(noted)} of these figures'}: {note}.")
    return notes


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
