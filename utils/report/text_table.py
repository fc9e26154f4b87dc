"""The table that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain-text table: first column to the left, the others to the right."""
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
    """MSE and MAE of the model beside the naive forecasts, best first; `test` is an entry of metrics.json."""
    entries = {model: test, **test["naive"]}
    rows = [
        [name, f"{entry['mse']:.4f}", f"{entry['mae']:.4f}", f"{entry['mse'] / test['mse']:.2f}x"]
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["mse"])
    ]
    return aligned(["test errors (scaled units)", "MSE", "MAE", "MSE relative"], rows)
