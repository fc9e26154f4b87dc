"""Figures from papers, each with its source (`utils/published/`), to set beside our own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True)
class PublishedAccuracy:
    """One figure of a paper. `seq_len` may be "own" (the look-back of the model's repository), `pred_len` "avg"."""

    source: str
    model: str
    data: str
    seq_len: str
    percent: int
    pred_len: str
    mse: float | None
    mae: float | None
    note: str


def published_accuracy(path: Path = FOLDER / "accuracy.csv") -> list[PublishedAccuracy]:
    """Every figure of the file, errors in scaled units."""
    return [
        PublishedAccuracy(
            source=row["source"], model=row["model"], data=row["dataset"], seq_len=row["seq_len"],
            percent=int(row["percent"]), pred_len=row["pred_len"], mse=_number(row["mse"]), mae=_number(row["mae"]),
            note=row["note"] or "",
        )
        for row in _rows(path)
    ]  # fmt: skip


def published_efficiency(path: Path = FOLDER / "efficiency.csv") -> list[dict[str, str]]:
    """Every row of the file by its column names; a figure that the paper does not give is an empty text."""
    return _rows(path)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
