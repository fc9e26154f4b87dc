"""A remark on arms whose error is that of a few test windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.verdict.collection import Collected
from utils.verdict.comparisons import num_seeds
from utils.verdict.plan import NONE, Part

WORST = 0.05
MUCH = 0.5
WHY = "../models.md#when-single-windows-explode"


def few_windows(collected: Collected, part: Part, cell: str) -> str | None:
    """Which complete arms have most of their squared error in few windows, and how much of it `none` has in them.

    None if no arm has. The share is the mean over the arm's seeds.
    """
    complete = [arm for arm in part.arms if num_seeds(collected, cell, arm, part.seeds) == len(part.seeds)]
    shares = {arm: _share_of_worst(collected, cell, arm, part.seeds) for arm in complete}
    outlying = [f"{100 * share:.0f} % of the squared error of {arm}" for arm, share in shares.items() if share > MUCH]
    if not outlying:
        return None
    others = f", but {100 * shares[NONE]:.0f} % of that of {NONE}" if shares.get(NONE, 1) <= MUCH else ""
    return (
        f"Single windows explode: the worst {100 * WORST:.0f} % of the test windows make up {' and '.join(outlying)}"
        f"{others} ([why]({WHY}))."
    )


def _share_of_worst(collected: Collected, cell: str, arm: str, seeds: Sequence[int]) -> float:
    """Share of a run's squared error that its worst windows hold, mean over the seeds."""
    shares = []
    for seed in seeds:
        errors = np.sort(collected.errors_of(cell, arm, seed).astype(np.float64))
        worst = max(1, round(WORST * len(errors)))
        shares.append(errors[-worst:].sum() / errors.sum())
    return float(np.mean(shares))
