"""The alignment of two branches before and after training: similarities of pairs, norms, deviations, a projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from utils.report.finished_runs import UnusableRun
from utils.report.pages.charts import BLUE, GREY, ORANGE, PINK, Figure, Trace, box_figure, figure, packed

STAGES = ("before", "after")
NUM_BINS = 40
EDGES = np.linspace(-1, 1, NUM_BINS + 1)
# Branch as it is named in alignment.safetensors -> (as it is called on the page, its colour).
BRANCHES = {"time": ("time series", BLUE), "text": ("text, raw", PINK), "text_scaled": ("text, scaled", ORANGE)}
QUANTITIES = {"norm": "Norm of the token mean", "std": "Deviation over tokens"}


def alignment_summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Similarity histograms, 2-D points and quartiles of norms and deviations, before and after training.

    Both projections share their axes (principal components of all unit vectors of both stages), so that the two
    pictures can be compared. `found_first` is the share of rows whose own text is the most similar one. UnusableRun if
    the token means of a branch are missing.
    """
    units = {
        stage: [_units(arrays, f"{stage}/{branch}_mean") for branch in ("time", "text_scaled")] for stage in STAGES
    }
    centre, axes, explained = _plane(np.concatenate([vectors for pair in units.values() for vectors in pair]))
    stages, found_first = {}, {}
    for stage, (time, text) in units.items():
        similarities = time @ text.T
        found_first[stage] = float((similarities.argmax(axis=1) == np.arange(len(time))).mean())
        stages[stage] = {
            "positive": _histogram(np.diagonal(similarities)),
            "negative": _histogram(similarities[~np.eye(len(similarities), dtype=bool)]),
            "time_points": (time - centre) @ axes,
            "text_points": (text - centre) @ axes,
        }
    quartiles = {quantity: _quartiles(arrays, quantity) for quantity in QUANTITIES}
    return {
        "num_rows": len(units["before"][0]),
        "explained": explained,
        "stages": stages,
        "quartiles": quartiles,
        "found_first": found_first,
    }


def alignment_cards(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of a summary with their titles."""
    stages = summary["stages"]
    points = np.concatenate([stage[name] for stage in stages.values() for name in ("time_points", "text_points")])
    cards = [
        {"title": f"Cosine similarity, {name} training", "figure": _similarity_figure(stage)}
        for name, stage in stages.items()
    ]
    cards += [
        {
            "title": f"Projection, {name} training ({100 * summary['explained']:.0f} % of the variance)",
            "figure": _projection_figure(stage, points),
        }
        for name, stage in stages.items()
    ]
    for quantity, rows in summary["quartiles"].items():
        if rows:
            boxes = box_figure([row[0] for row in rows], [row[2:] for row in rows], [row[1] for row in rows])
            cards.append({"title": f"{QUANTITIES[quantity]} (middle half and median of the rows)", "figure": boxes})
    return cards


def _similarity_figure(stage: dict[str, Any]) -> Figure:
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": f"{kind} pairs, mean {mean:.3g}",
            "x0": float(EDGES[0] + EDGES[1]) / 2,
            "dx": float(EDGES[1] - EDGES[0]),
            "y": packed(counts / max(counts.sum(), 1)),
            "marker": {"color": colour},
            "opacity": 0.55,
        }
        for kind, colour in (("positive", ORANGE), ("negative", BLUE))
        for counts, mean in [stage[kind]]
    ]
    y = {"title": {"text": "share of pairs"}}
    return figure(traces, x={"title": {"text": "cosine similarity"}}, y=y, barmode="overlay", bargap=0)


def _projection_figure(stage: dict[str, Any], all_points: Float[np.ndarray, "point 2"]) -> Figure:
    time, text = stage["time_points"], stage["text_points"]
    gaps = np.full_like(time, np.nan)
    pairs = np.stack([time, text, gaps], axis=1).reshape(-1, 2)
    traces: list[Trace] = [
        {"mode": "lines", "name": "pairs", "line": {"color": GREY, "width": 0.7}, "opacity": 0.5, "hoverinfo": "skip"}
    ]
    traces += [
        {"mode": "markers", "name": BRANCHES[branch][0], "marker": {"color": BRANCHES[branch][1], "size": 6}}
        for branch in ("time", "text_scaled")
    ]
    for trace, points in zip(traces, (pairs, time, text), strict=True):
        trace |= {"type": "scatter", "x": packed(points[:, 0]), "y": packed(points[:, 1])}
    low, high = all_points.min(axis=0), all_points.max(axis=0)
    room = 0.05 * (high - low)
    x, y = ({"range": [float(from_), float(to)]} for from_, to in zip(low - room, high + room, strict=True))
    title = {"title": {"text": "first principal component"}}
    return figure(traces, height=320, x=x | title, y=y | {"title": {"text": "second"}}, hovermode="closest")


def _units(arrays: dict[str, np.ndarray], name: str) -> Float[np.ndarray, "row width"]:
    if name not in arrays:
        raise UnusableRun(f"alignment.safetensors holds no {name!r}")
    vectors = arrays[name].astype(np.float64)
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise UnusableRun(f"alignment.safetensors: {name!r} is no table of finite numbers [row, width]")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _plane(
    vectors: Float[np.ndarray, "row width"],
) -> tuple[Float[np.ndarray, "width"], Float[np.ndarray, "width 2"], float]:
    """Mean, first two principal axes, and the share of the variance that they hold."""
    centre = vectors.mean(axis=0)
    _, scales, axes = np.linalg.svd(vectors - centre, full_matrices=False)
    variance = scales**2
    return centre, axes[:2].T, float(variance[:2].sum() / max(variance.sum(), 1e-12))


def _histogram(similarities: Float[np.ndarray, "pair"]) -> tuple[np.ndarray, float]:
    """Counts between EDGES, and the mean."""
    return np.histogram(similarities.clip(-1, 1), bins=EDGES)[0], float(similarities.mean()) if similarities.size else 0


def _quartiles(arrays: dict[str, np.ndarray], quantity: str) -> list[tuple[str, str, float, float, float]]:
    """Branch and stage, colour, and the three quartiles over the rows."""
    found = []
    for stage in STAGES:
        for branch, (title, colour) in BRANCHES.items():
            values = arrays.get(f"{stage}/{branch}_{quantity}")
            if values is not None and values.size:
                low, middle, high = np.quantile(values.astype(float), [0.25, 0.5, 0.75]).tolist()
                found.append((f"{title}, {stage}", colour, low, middle, high))
    return found
