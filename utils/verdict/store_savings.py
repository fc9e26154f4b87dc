"""What the store of text states on disk saves, from the committed runs."""

from __future__ import annotations

from utils.report.table import markdown
from utils.verdict.collection import Collected

# Arms whose text a language model reads, in the order in which the queue runs them; the others read none.
READING = ("pretrained", "random (2021)", "random (1)")


def savings(collected: Collected) -> str:
    """A table: seconds of the test split in the run that read its texts, and in those that found them in the store.

    Of an arm's seeds only the first reads, so its test takes longest. Empty if no arm has two seeds.
    """
    rows = []
    for cell in dict.fromkeys(collected.rows["cell"]):
        for arm in READING:
            runs = collected.of(cell, [arm])
            seconds = sorted(runs["seconds_test"], reverse=True) if len(runs) > 1 else []
            if seconds:
                rest = sum(seconds[1:]) / len(seconds[1:])
                parts = (f"{seconds[0]:.0f}", f"{rest:.0f}", f"{seconds[0] / rest:.1f}x", str(len(runs)))
                rows.append([cell, arm, *parts])
    if not rows:
        return ""
    header = ["cell", "arm", "test with reading", "test from the store", "ratio", "runs"]
    return (
        "## What the store of text states saves\n\nSeconds of testing, which do not depend on the number of epochs, on "
        "the machine that results.csv names (other work ran beside). The first seed reads the texts, the others take "
        "them from `--text_store`.\n\n" + markdown(header, rows, num_heads=2)
    )
