"""M4 competition data: the series of six frequencies, read from the competition's files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from data_provider.datasets import sha256_of
from data_provider.m4.windows import M4Windows
from data_provider.scaling import Standardizer
from data_provider.series import WindowSource
from data_provider.splits import Split

MISSING = ("", "NA", "NaN")


@dataclass(frozen=True)
class Frequency:
    """Horizon and season of a frequency in time steps, as the competition defines them.

    Training targets begin within the last `reach` horizons of a series, as in N-BEATS and Time-Series-Library.
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


@dataclass(frozen=True, eq=False, kw_only=True)
class M4Data(WindowSource):
    """The series of one frequency in original units; those in `train` differ in length.

    The last horizon of each training series is its validation target. Each series is divided by its own scale
    (`scales`), so `scaler` is the identity. `fingerprint` holds the SHA-256 of both files.
    """

    frequency: Frequency
    ids: list[str]
    train: list[ndarray]
    test: Float[ndarray, "series horizon"]

    @classmethod
    def of(
        cls, name: str, frequency: Frequency, *, ids: list[str], train: list[ndarray], test: ndarray, fingerprint: str
    ) -> Self:
        """The data of the frequency called `name`."""
        return cls(
            name=f"M4-{name}",
            columns=["value"],
            target_channels=[0],
            time_step=frequency.time_step,
            season_length=frequency.season_length,
            scaler=Standardizer(np.zeros(1), np.ones(1)),
            fingerprint=fingerprint,
            description=f"{name} series of the M4 competition, from business and economics.",
            frequency=frequency,
            ids=ids,
            train=train,
            test=test,
        )

    @property
    def scales(self) -> Float[ndarray, "series"]:
        """The factor of each series: its mean absolute value before the validation target.

        SMAPE and MASE do not depend on it, and models without instance normalisation need it to learn.
        """
        known = [np.abs(series[: -self.frequency.horizon]).mean() for series in self.train]
        return np.array([scale if scale > 0 else 1.0 for scale in known])

    def windows(self, split: Split, *, device: torch.device | str = "cpu", **_: Any) -> M4Windows:
        """The windows of a split over all series, with a look-back of twice the horizon.

        Training windows lie within the frequency's reach and end before the validation target. Validation and test have
        one row per series, in the order of the file: their targets are the last horizon of the training series and the
        test series.
        """
        horizon = self.frequency.horizon
        if split == "test":
            series = [np.concatenate(pair) for pair in zip(self.train, self.test, strict=True)]
        else:
            series = [values[:-horizon] if split == "train" else values for values in self.train]
        if max(map(len, series)) <= horizon:
            raise ValueError(f"no series of {self.name} is long enough for a window before its last {horizon} steps")
        return M4Windows(
            [values / scale for values, scale in zip(series, self.scales, strict=True)],
            seq_len=2 * horizon,
            pred_len=horizon,
            reach=int(self.frequency.reach * horizon) if split == "train" else 1,
            device=device,
        )


def check_frequencies(root_path: Path, names: Sequence[str]) -> None:
    """Check the frequency names and that their files exist. Raises ValueError or FileNotFoundError."""
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
    """Read the training and test series of one frequency. Raises ValueError for an invalid file."""
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
    return M4Data.of(
        name,
        frequency,
        ids=list(train),
        train=list(train.values()),
        test=np.stack(list(test.values())),
        fingerprint=f"{sha256_of(train_path)} {sha256_of(test_path)}",
    )


def _files(root_path: Path, name: str) -> tuple[Path, Path]:
    return root_path / "m4" / f"{name}-train.csv", root_path / "m4" / f"{name}-test.csv"


def _read(path: Path) -> dict[str, ndarray]:
    """Read the series of a file by id, without the empty cells that pad shorter rows."""
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
