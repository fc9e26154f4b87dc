"""Plain-text tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  " + "   ".join(padded).rstrip()

    rule = "  " + "   ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *map(line, rows)])


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
