"""What the report page shows of a run: facts, forecasts, training curves, errors by step and channel, the alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from utils.plotting import loss_curves
from utils.report.finished_runs import Run, UnusableRun, read_arrays
from utils.report.pages.alignment import alignment_cards, alignment_summary
from utils.report.pages.charts import (
    BLUE,
    COLOURS,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    bar_figure,
    line,
    line_figure,
)
from utils.report.pages.sample_forecasts import Shown, forecast_figures, interval_of
from utils.report.table import bytes_text, count_text, figures_text
from utils.terminal import measure_title

Section = dict[str, Any]
Card = dict[str, Any]

MAX_BARS = 40


def run_entries(named_runs: Sequence[tuple[str, Run]], shown: Shown) -> list[dict[str, Any]]:
    """What page.html shows of each run; the names are those in the tables."""
    return [_entry(name, run, named_runs, shown) for name, run in named_runs]


def _entry(name: str, run: Run, named_runs: Sequence[tuple[str, Run]], shown: Shown) -> dict[str, Any]:
    metrics, problems = run.metrics, []

    def readable(part: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (UnusableRun, OSError, KeyError, IndexError, ValueError, ArithmeticError, NotImplementedError) as error:
            problems.append(f"{part} ({error})")

    rivals = _rivals(name, run, named_runs)
    errors = readable("errors", lambda: _errors(name, run, rivals)) or []
    sections = [_curves(run), *errors, readable("alignment", lambda: _alignment(run))]
    interval = readable("prediction interval", lambda: interval_of(run))

    def forecasts_on(target: str) -> Callable[[], Any]:
        return lambda: forecast_figures(run, shown, interval, target=target)

    labels = ", ".join(run.labels)
    percent = f", {metrics['percent']} %" if metrics["percent"] != 100 else ""
    return {
        "title": f"{name}, {' and '.join(run.tests)}, {metrics['seq_len']} to {metrics['pred_len']} steps, "
        f"seed {metrics['seed']}{percent}{f' ({labels})' if labels else ''}",
        "labels": labels,
        "facts": _facts(run),
        "forecasts": [found for target in _targets(run) if (found := readable("forecasts", forecasts_on(target)))],
        "sections": [section for section in sections if section],
        "problems": problems,
    }


def _targets(run: Run) -> list[str]:
    """The targets whose forecasts a zero-shot run kept; one empty name for any other run, and for older ones."""
    prefix = f"{run.folder.forecasts.stem}_"
    paths = sorted(run.folder.path.glob(f"{prefix}*{run.folder.forecasts.suffix}"))
    return [path.stem.removeprefix(prefix) for path in paths] or [""]


def _facts(run: Run) -> list[tuple[str, str]]:
    metrics = run.metrics
    facts = [("run folder", run.folder.path.name)]
    for data, test in run.tests.items():
        names = [name for name in test["measures"] if name in test]
        title = f"test {' / '.join(map(measure_title, names))}, {data}"
        facts.append((title, " / ".join(f"{test[name]:.4f}" for name in names)))
        if "mae_original" in test:
            facts.append(("MAE, original units", figures_text(test["mae_original"])))
        naive = test.get("naive", {}).items()
        facts += [(f"MSE of {name}", f"{errors['mse']:.4f}") for name, errors in naive if "mse" in errors]
    validation: Any = metrics.get("validation") or {}
    parameters: Any = metrics.get("parameters") or {}
    if validation.get("best_epoch") is not None:
        facts.append(("best epoch", f"{validation['best_epoch']} of {metrics.get('epochs', '?')}"))
    if parameters.get("total"):
        trainable = parameters.get("trainable", nan)
        share = 100 * trainable / parameters["total"]
        counts = f"{count_text(trainable)} of {count_text(parameters['total'])}"
        facts.append(("parameters trained", f"{counts} ({figures_text(share)} %)"))
    seconds = {"training": (metrics.get("seconds") or {}).get("training"), "step": metrics.get("seconds_per_step")}
    facts += [(title, f"{figures_text(value)} s") for title, value in seconds.items() if value is not None]
    memory = metrics.get("peak_memory_bytes") or {}
    facts.append(("peak memory", bytes_text(memory.get("device") or memory.get("host") or 0)))
    facts.append(("machine", f"{metrics.get('device_name') or metrics.get('device')}, {metrics.get('precision')}"))
    return facts


def _marks(best_epoch: int | None, chance: float | None) -> dict[str, Any]:
    """Lines of a plotly layout at the best epoch and at the level of chance."""
    style = {"type": "line", "line": {"color": GREY, "width": 1, "dash": "dot"}}
    upright = {**style, "yref": "paper", "y0": 0, "y1": 1, "x0": best_epoch, "x1": best_epoch}
    level = {**style, "xref": "paper", "x0": 0, "x1": 1, "y0": chance, "y1": chance}
    text = {"xref": "paper", "x": 1, "y": chance, "text": "chance", "showarrow": False, "yanchor": "bottom"}
    return {
        "shapes": [*([upright] if best_epoch is not None else []), *([level] if chance is not None else [])],
        "annotations": [text] if chance is not None else [],
    }


def _curves(run: Run) -> Section | None:
    cards, chance = [], run.metrics.get("chance") or {}
    for term, parts in loss_curves(run.history).items():
        styles = {"training": (BLUE, "solid"), "validation": (ORANGE, "dash")}
        traces = [
            line(part, values, styles[part][0], dash=styles[part][1], x=epochs, mode="lines+markers")
            for part, (epochs, values) in parts.items()
        ]
        curves = line_figure(traces, x_title="epoch", num_points=len(run.history))
        curves["layout"] |= _marks((run.metrics.get("validation") or {}).get("best_epoch"), chance.get(term))
        cards.append({"title": term, "figure": curves})
    hint = "Each loss term by epoch; the weights of the best epoch (vertical line) were tested."
    hint += " A loss at its chance level (horizontal line) has learnt nothing." if chance else ""
    return {"title": "Training curves", "hint": hint, "cards": cards} if cards else None


def _rivals(name: str, run: Run, named_runs: Sequence[tuple[str, Run]]) -> dict[str, Run]:
    """By name, this run and one of each other model on the same data and horizon, with the same seed if possible."""

    def cell(other: Run) -> tuple[Any, ...]:
        keys = ("task_name", "features", "seq_len", "pred_len", "percent")
        return (*(other.metrics.get(key) for key in keys), other.data, bool(other.labels))

    alike = [(title, other) for title, other in named_runs if cell(other) == cell(run)]
    alike.sort(key=lambda named: named[1].metrics["seed"] == run.metrics["seed"])
    return {name: run} | dict(alike) | {name: run}


def _errors(name: str, run: Run, rivals: dict[str, Run]) -> list[Section]:
    sections = []
    for data, test in run.tests.items():
        by_step = {
            name: other.tests[data]["per_step"]
            for name, other in rivals.items()
            if other.tests.get(data, {}).get("per_step")
        }
        cards = _errors_by_step(by_step, test["measures"], run.metrics["pred_len"]) if test.get("per_step") else []
        cards += _errors_by_channel(test)
        cards += _less_the_best_rival(test, {title: other.tests.get(data, {}) for title, other in rivals.items()}, name)
        if cards:
            sections.append({"title": f"Test error on {data}", "cards": cards, "in_pairs": True})
    return sections


def _errors_by_step(by_step: dict[str, dict[str, Any]], measures: Sequence[str], pred_len: int) -> list[Card]:
    cards = []
    for measure in measures:
        styles = zip(by_step.items(), COLOURS, DASHES, strict=False)
        traces = [
            line(name, errors[measure], colour, dash=dash, x0=1, dx=1)
            for (name, errors), colour, dash in styles
            if measure in errors
        ]
        title = f"{measure_title(measure)} by horizon step, scaled units"
        figure = line_figure(traces, x_title="time steps ahead", num_points=pred_len)
        cards += [{"title": title, "figure": figure}] if traces else []
    return cards


def _errors_by_channel(test: Mapping[str, Any]) -> list[Card]:
    channels = test.get("per_channel")
    if not channels:
        return []
    measures = [name for name in test["measures"] if name in channels]
    if not measures:
        return []
    # If not all channels fit, the worst are the ones worth seeing.
    order = np.argsort(np.negative(channels[measures[0]]), kind="stable")[:MAX_BARS]
    names = [str(channels["columns"][place]) for place in order]
    many = len(channels["columns"]) > MAX_BARS
    note = f"The {MAX_BARS} worst of {len(channels['columns'])} channels." if many else ""
    kinds = {name: (f"{measure_title(name)} by channel, scaled units", BLUE) for name in measures}
    kinds["mae_original"] = ("MAE by channel, original units", GREEN)
    return [
        {"title": title, "note": note, "figure": bar_figure(names, [channels[kind][place] for place in order], colour)}
        for kind, (title, colour) in kinds.items()
        if kind in channels
    ]


def _less_the_best_rival(test: Mapping[str, Any], tests: Mapping[str, Mapping[str, Any]], name: str) -> list[Card]:
    """The MSE of each channel less that of the best other model, the channels that lose most first."""
    own = test.get("per_channel") or {}
    others = {
        title: other
        for title, other in tests.items()
        if title != name and (other.get("per_channel") or {}).get("columns") == own.get("columns") is not None
    }
    if not others or "mse" not in own:
        return []
    best = min(others, key=lambda title: others[title]["mse"])
    differences = np.subtract(own["mse"], others[best]["per_channel"]["mse"])
    order = np.argsort(-differences, kind="stable")[:MAX_BARS]
    names = [str(own["columns"][place]) for place in order]
    bars = bar_figure(names, [float(differences[place]) for place in order], BLUE)
    return [{"title": f"MSE by channel less that of {best}: negative is better", "note": "", "figure": bars}]


def _alignment(run: Run) -> Section | None:
    if not run.folder.alignment.is_file():
        return None
    arrays, _ = read_arrays(run.folder.alignment, run)
    broken = next((name for name, values in arrays.items() if not np.isfinite(values).all()), None)
    if broken is not None:
        raise UnusableRun(f"{run.folder.alignment} is damaged ({broken} has values that are not finite)")
    summary = alignment_summary(arrays)
    hint = (
        f"Time-series tokens and scaled text tokens of {summary['num_rows']} validation rows, averaged over tokens. "
        "A pair is positive when both come from the same row. Own text found first among "
        f"{summary['num_rows']}: {100 * summary['found_first']['before']:.1f} % of the rows before training, "
        f"{100 * summary['found_first']['after']:.1f} % after; by chance {100 / summary['num_rows']:.1f} %."
    )
    return {"title": "Alignment of the two branches", "hint": hint, "cards": alignment_cards(summary), "in_pairs": True}
