"""Progress that suits its reader: a bar on a terminal, a status line a minute in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 60.0


def progress_bar(
    items: Iterable[Item], *, total: int, label: str, start: int = 0, shown: bool = True
) -> Iterator[Item]:
    """Passes `items` on while showing how many of `total` are done and the time left."""
    if not shown:
        yield from items
    elif sys.stderr.isatty():
        yield from tqdm(items, total=total, initial=start, desc=label, leave=False, dynamic_ncols=True, unit="step")
    else:
        yield from _with_status_lines(items, total=total, label=label, start=start)


def _with_status_lines(items: Iterable[Item], *, total: int, label: str, start: int) -> Iterator[Item]:
    began = last = time.monotonic()
    for done, item in enumerate(items, start=start):
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - began) / max(done - start, 1) * (total - done)
            logger.info("%s: step %d of %d, about %s left", label, done, total, duration(left))
        yield item


def duration(seconds: float) -> str:
    """Seconds as a person says them: '42 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
