"""Made runs whose true differences are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from utils.verdict.collection import CURVE, Collected
from utils.verdict.plan import CELLS, Part, core

NUM_WINDOWS, NUM_ILI_WINDOWS = 1400, 170
NUM_EPOCHS = 6


def made(
    effects: Mapping[str, float],
    parts: Sequence[Part] = (),
    *,
    cells: int = len(CELLS),
    spread: float = 0.001,
    lacking: Sequence[tuple[str, str, int]] = (),
    best_epoch: int = 3,
) -> Collected:
    """Runs of `parts`, or of the core in its first `cells`, without those that are `lacking` (cell, arm, seed).

    The error of an arm is that of the same windows times its effect (1 unless given, by arm or "cell/arm"), which
    scatters over seeds by `spread`.
    """
    shared = np.random.default_rng(0).gamma(2.0, 0.2, NUM_WINDOWS)
    rows: dict[str, dict[str, object]] = {}
    errors: dict[str, np.ndarray] = {}
    for part in parts or [core(CELLS[:cells])]:
        for cell, arm, seed in ((c, a, s) for c in part.cells for a in part.arms for s in part.seeds):
            run_id = f"{cell}/{arm}/{seed}"
            if (cell, arm, seed) in lacking or run_id in rows:
                continue
            noise = 1 + spread * np.random.default_rng([seed, len(rows)]).standard_normal()
            windows = shared[: NUM_ILI_WINDOWS if cell.startswith("ILI") else NUM_WINDOWS]
            effect = effects.get(f"{cell}/{arm}", effects.get(arm, 1.0))
            errors[run_id] = (windows * effect * noise).astype(np.float32)
            mse = float(errors[run_id].mean())
            seconds = {"training": 40.0, "test": 50.0 if seed == part.seeds[0] else 10.0, "total": 60.0}
            rows[run_id] = {
                **{"cell": cell, "arm": arm, "seed": seed, "run_id": run_id, "labels": "", "mse": mse, "mae": mse},
                **{"best_epoch": best_epoch, **{f"seconds_{name}": value for name, value in seconds.items()}},
                **{"validation_mse": 2 * mse, "steps": 100, "seconds_per_step": seconds["training"] / 100, "flags": ""},
            }
    curves = [[run_id, epoch, 0.5, 1 / epoch] for run_id in rows for epoch in range(1, NUM_EPOCHS + 1)]
    return Collected(pd.DataFrame(rows.values()), errors, pd.DataFrame(curves, columns=CURVE))
