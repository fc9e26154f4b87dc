"""Small files in the layout of M4, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def wave_of(number: int, length: int) -> np.ndarray:
    """A positive wave with a trend."""
    steps = np.arange(length)
    return 50 + 10 * number + 5 * np.sin(2 * np.pi * steps / 4) + 0.1 * steps


def write_m4(root: Path) -> Path:
    """Two frequencies of six and four series in `root`/m4."""
    (root / "m4").mkdir()
    for name, horizon, count in (("Quarterly", 8, 6), ("Yearly", 6, 4)):
        for part in ("train", "test"):
            lines = ["id"]
            for number in range(count):
                whole = wave_of(number, 30 + number + horizon)
                values = whole[:-horizon] if part == "train" else whole[-horizon:]
                lines.append(",".join([f"{name[0]}{number}", *map(str, values)]))
            (root / "m4" / f"{name}-{part}.csv").write_text("\n".join(lines))
    return root
