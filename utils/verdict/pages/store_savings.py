"""What the store of text states on disk saves, from the committed runs."""

from __future__ import annotations

from utils.verdict.collection import Collected
from utils.verdict.pages.document import Grid, Section
from utils.verdict.plan import CELLS, PRETRAINED, RANDOM, SEEDS, cell_text

# Arms whose text a language model reads, in the order in which the queue runs them; the others read none.
READING = (PRETRAINED, *RANDOM)
MEASURABLE_SECONDS = 1.0


def savings(collected: Collected) -> Section | None:
    """A table: seconds of the test split in the run that read its texts, and in those that found them in the store.

    Of an arm's seeds the first reads. Without arms whose first seed was not the slowest, since it found its texts: by
    another part of the plan, or because it was interrupted. None if no arm is left.
    """
    rows = []
    for cell in CELLS:
        for arm in READING:
            runs = collected.of(cell, [arm])
            if not len(runs):
                continue
            reading, stored = (runs[(runs["seed"] == SEEDS[0]) == reads]["seconds_test"] for reads in (True, False))
            if len(reading) and len(stored) and reading.iloc[0] > stored.max():
                first, rest = float(reading.iloc[0]), float(stored.mean())
                ratio = f"{first / rest:.0f}x" if rest >= MEASURABLE_SECONDS else ""
                parts = (f"{first:.1f}", f"{rest:.1f}", ratio, str(len(runs)))
                rows.append([cell_text(cell, with_rate=True), arm, *parts])
    if not rows:
        return None
    header = ["cell", "arm", "test with reading", "test from the store", "ratio", "runs"]
    text = (
        "Seconds of testing, which do not depend on the number of epochs, on the machine that results.csv names (other "
        "work ran beside, so a ratio has one digit). The first seed reads the texts, the others take them from "
        "`--text_store`; arms whose first seed was not the slowest, since it found its texts, are left out."
    )
    return Section("What the store of text states saves", [text, Grid(header, rows, num_heads=2)])
