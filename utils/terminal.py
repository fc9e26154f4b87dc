"""Terminal output: progress bars, durations and text tables."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)
# What moves the cursor, colours, rings or turns the direction of writing, and halves of characters.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 60.0


class Progress(Generic[Item]):
    """Iterates over `items` and shows progress: a bar on a terminal, a line per minute in a log file."""

    def __init__(self, items: Iterable[Item], *, total: int, label: str, start: int = 0, shown: bool = True):
        self.items, self.total, self.label, self.start = items, total, label, start
        self.loss = math.nan
        self.bar: Any = None
        self.has_lines = shown and not sys.stderr.isatty()
        if shown and not self.has_lines:
            self.bar = tqdm(items, total=total, initial=start, desc=label, leave=False, dynamic_ncols=True, unit="step")

    def __iter__(self) -> Iterator[Item]:
        if self.has_lines:
            return self._with_status_lines()
        return iter(self.items if self.bar is None else self.bar)

    def show(self, loss: float) -> None:
        """Show the loss of the last step whose loss is known."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        elif self.has_lines:
            self.loss = loss

    def _with_status_lines(self) -> Iterator[Item]:
        began = last = time.monotonic()
        for done, item in enumerate(self.items, start=self.start):
            now = time.monotonic()
            if now - last >= SECONDS_BETWEEN_LINES:
                last = now
                left = (now - began) / max(done - self.start, 1) * (self.total - done)
                loss = "" if math.isnan(self.loss) else f", loss {self.loss:.4g}"
                logger.info(
                    "%s: step %d of %d%s, about %s left", self.label, done, self.total, loss, duration(left)
                )  # fmt: skip
            yield item


def progress_bar(
    items: Iterable[Item], *, total: int, label: str, start: int = 0, shown: bool = True
) -> Progress[Item]:
    """The `items` with a bar on a terminal, or a line per minute in a log file, while they are iterated over."""
    return Progress(items, total=total, label=label, start=start, shown=shown)


def printable(text: str) -> str:
    """`text` with its control characters (but line ends and tabs) escaped: names in it may come from any file."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """`text` printable in one line."""
    return printable(text.strip()).replace("\n", "\\n")


class PrintableFormatter(logging.Formatter):
    """Formats log records without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_stderr(level: int) -> None:
    """Send the log, printable, to standard error; a handler that is there already is kept."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


def duration(seconds: float) -> str:
    """Format seconds: '42 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_heads: int = 1) -> str:
    """Format a text table: the first `num_heads` columns left-aligned, the others right-aligned."""
    header, rows = [one_line(cell) for cell in header], [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < num_heads else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  " + "   ".join(padded).rstrip()

    rule = "  " + "   ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *map(line, rows)])


def print_to_the_end(text: str) -> None:
    """Print, quietly if the reader of the pipe has gone (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would complain again when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error_table(model: str, test: Mapping[str, Any]) -> str:
    """Test errors of the model and of the naive forecasts, best first; `test` is an entry of metrics.json."""
    measures = test["measures"]
    first = measures[0]
    entries = sorted({model: test, **test["naive"]}.items(), key=lambda item: item[1][first])
    rows = [
        [name, *(f"{entry[measure]:.4f}" if measure in entry else "-" for measure in measures)]
        + [f"{entry[first] / test[first]:.2f}x"]
        for name, entry in entries
    ]
    titles = [measure_title(measure) for measure in measures]
    return aligned(["test errors (scaled units)", *titles, f"{titles[0]} relative"], rows)


def measure_title(name: str) -> str:
    """A measure's name as a column title: "mse" is MSE, while a name with capitals ("MedAE") stays as it is."""
    return name.upper() if name.islower() else name
