"""The alignment of two branches made visible: similarities of pairs, norms, deviations, and a projection to a plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from utils.finished_runs import UnusableRun

STAGES = ("before", "after")
NUM_BINS = 40
# Branch as it is named in alignment.safetensors -> (as it is called on the page, its colour).
BRANCHES = {"time": ("time series", "c0"), "text": ("text, raw", "c3"), "text_scaled": ("text, scaled", "c1")}


def alignment_summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Similarity histograms, 2-D points and quartiles of norms and deviations, before and after training.

    Both projections share their axes (principal components of all unit vectors of both stages), so that the two
    pictures can be compared. UnusableRun if the token means of a branch are missing.
    """
    units = {
        stage: [_units(arrays, f"{stage}/{branch}_mean") for branch in ("time", "text_scaled")] for stage in STAGES
    }
    centre, axes, explained = _plane(np.concatenate([vectors for pair in units.values() for vectors in pair]))
    stages = []
    for stage, (time, text) in units.items():
        similarities = time @ text.T
        positive = np.diagonal(similarities)
        negative = similarities[~np.eye(len(similarities), dtype=bool)]
        points = [((vectors - centre) @ axes).round(4).tolist() for vectors in (time, text)]
        stages.append(
            {
                "name": stage,
                "positive": _histogram(positive),
                "negative": _histogram(negative),
                "time_points": points[0],
                "text_points": points[1],
                "norm": _quartiles(arrays, stage, "norm"),
                "std": _quartiles(arrays, stage, "std"),
            }
        )
    return {"num_rows": len(units["before"][0]), "explained": f"{100 * explained:.0f} %", "stages": stages}


def _units(arrays: dict[str, np.ndarray], name: str) -> Float[np.ndarray, "row width"]:
    if name not in arrays:
        raise UnusableRun(f"alignment.safetensors holds no {name!r}")
    vectors = arrays[name].astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _plane(
    vectors: Float[np.ndarray, "row width"],
) -> tuple[Float[np.ndarray, "width"], Float[np.ndarray, "width 2"], float]:
    """Mean, first two principal axes, and the share of the variance that they hold."""
    centre = vectors.mean(axis=0)
    _, scales, axes = np.linalg.svd(vectors - centre, full_matrices=False)
    variance = scales**2
    return centre, axes[:2].T, float(variance[:2].sum() / max(variance.sum(), 1e-12))


def _histogram(similarities: Float[np.ndarray, "pair"]) -> dict[str, Any]:
    counts, edges = np.histogram(similarities.clip(-1, 1), bins=NUM_BINS, range=(-1, 1))
    mean = float(similarities.mean()) if similarities.size else 0.0
    return {"mean": round(mean, 4), "counts": counts.tolist(), "edges": edges.round(3).tolist()}


def _quartiles(arrays: dict[str, np.ndarray], stage: str, quantity: str) -> list[dict[str, Any]]:
    rows = []
    for branch, (title, colour) in BRANCHES.items():
        values = arrays.get(f"{stage}/{branch}_{quantity}")
        if values is not None and values.size:
            low, middle, high = (
                float(f"{value:.4g}") for value in np.quantile(values.astype(float), [0.25, 0.5, 0.75])
            )
            rows.append({"name": title, "colour": colour, "low": low, "middle": middle, "high": high})
    return rows
