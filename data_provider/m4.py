"""The M4 competition's series: six frequencies, each with its horizon, read from the competition's own files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data_provider.table import sha256_of

MISSING = ("", "NA", "NaN")


@dataclass(frozen=True)
class Frequency:
    """What the competition fixed for a frequency: horizon and season in steps.

    Training windows end within the last `reach` horizons of a series, as in the field.
    """

    horizon: int
    season_length: int
    time_step: str
    reach: float


FREQUENCIES: dict[str, Frequency] = {
    "Yearly": Frequency(horizon=6, season_length=1, time_step="YE", reach=1.5),
    "Quarterly": Frequency(horizon=8, season_length=4, time_step="QE", reach=1.5),
    "Monthly": Frequency(horizon=18, season_length=12, time_step="ME", reach=1.5),
    "Weekly": Frequency(horizon=13, season_length=1, time_step="W", reach=10),
    "Daily": Frequency(horizon=14, season_length=1, time_step="D", reach=10),
    "Hourly": Frequency(horizon=48, season_length=24, time_step="h", reach=10),
}


@dataclass(frozen=True, eq=False)
class M4Data:
    """The series of one frequency in original units; `train` holds arrays of different lengths.

    The last horizon of each training series is the validation target. `fingerprint` is the SHA-256 of both files.
    """

    name: str
    frequency: Frequency
    ids: list[str]
    train: list[ndarray]
    test: Float[ndarray, "series horizon"]
    fingerprint: str


def check_frequencies(root_path: Path, names: Sequence[str]) -> None:
    """ValueError for names that M4 has not, FileNotFoundError for all frequencies whose files are not there."""
    unknown = [name for name in names if name not in FREQUENCIES]
    if unknown or not names:
        raise ValueError(f"--m4_frequencies must be among {', '.join(FREQUENCIES)}, got {', '.join(unknown) or 'none'}")
    missing = [path.name for name in names for path in _files(root_path, name) if not path.is_file()]
    if missing:
        there = [name for name in FREQUENCIES if all(path.is_file() for path in _files(root_path, name))]
        choice = f", or choose with --m4_frequencies {' '.join(there)}" if there else ""
        raise FileNotFoundError(
            f"{root_path / 'm4'} lacks {', '.join(missing)}: put the files of the M4 competition there "
            f"(dataset/README.md){choice}"
        )


def load_m4(root_path: Path, name: str) -> M4Data:
    """The training and test series of one frequency; ValueError where a file does not fit, in one line."""
    train_path, test_path = _files(root_path, name)
    train, test = _read(train_path), _read(test_path)
    frequency = FREQUENCIES[name]
    if list(train) != list(test):
        different = sorted(set(train) ^ set(test))[:3] or ["the same series in another order"]
        raise ValueError(f"{train_path} and {test_path} must hold the same series: they differ in {different}")
    for path, series, shortest in ((train_path, train, frequency.horizon + 1), (test_path, test, frequency.horizon)):
        for key, values in series.items():
            if len(values) < shortest or (series is test and len(values) > shortest):
                count = f"at least {shortest}" if series is train else str(shortest)
                raise ValueError(f"{path}: series {key} must have {count} values, found {len(values)}")
    return M4Data(
        name=name,
        frequency=frequency,
        ids=list(train),
        train=list(train.values()),
        test=np.stack(list(test.values())),
        fingerprint=f"{sha256_of(train_path)} {sha256_of(test_path)}",
    )


def _files(root_path: Path, name: str) -> tuple[Path, Path]:
    return root_path / "m4" / f"{name}-train.csv", root_path / "m4" / f"{name}-test.csv"


def _read(path: Path) -> dict[str, ndarray]:
    """The series of a file by id; the empty cells that fill up shorter rows are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows, None)
        series = {row[0]: _values(path, row) for row in rows if row}
    if not series:
        raise ValueError(f"{path} holds no series: fetch it again (dataset/README.md)")
    return series


def _values(path: Path, row: list[str]) -> Float[ndarray, "time"]:
    cells = row[1:]
    while cells and cells[-1] in MISSING:
        cells.pop()
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        wrong = next(cell for cell in cells if not _is_number(cell))
        raise ValueError(f"{path}: series {row[0]} has {wrong!r} where a number is expected") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: series {row[0]} has a value that is not a finite number")
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
