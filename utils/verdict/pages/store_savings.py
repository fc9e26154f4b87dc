"""What the store of text states on disk saves, from the committed runs."""

from __future__ import annotations

from utils.verdict.collection import Collected
from utils.verdict.pages.document import Grid, Section
from utils.verdict.plan import PRETRAINED, RANDOM, cell_text

# Arms whose text a language model reads, in the order in which the queue runs them; the others read none.
READING = (PRETRAINED, *RANDOM)


def savings(collected: Collected) -> Section | None:
    """A table: seconds of the test split in the run that read its texts, and in those that found them in the store.

    Of an arm's seeds only the first reads, so its test takes longest. None if no arm has two seeds.
    """
    rows = []
    for cell in dict.fromkeys(collected.rows["cell"]):
        for arm in READING:
            runs = collected.of(cell, [arm])
            seconds = sorted(runs["seconds_test"], reverse=True) if len(runs) > 1 else []
            if seconds:
                rest = sum(seconds[1:]) / len(seconds[1:])
                parts = (f"{seconds[0]:.1f}", f"{rest:.1f}", f"{seconds[0] / rest:.1f}x", str(len(runs)))
                rows.append([cell_text(cell, with_rate=True), arm, *parts])
    if not rows:
        return None
    header = ["cell", "arm", "test with reading", "test from the store", "ratio", "runs"]
    text = (
        "Seconds of testing, which do not depend on the number of epochs, on the machine that results.csv names (other "
        "work ran beside). The first seed reads the texts, the others take them from `--text_store`."
    )
    return Section("What the store of text states saves", [text, Grid(header, rows, num_heads=2)])
