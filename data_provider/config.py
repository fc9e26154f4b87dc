"""Data flags: which table is read and how windows are cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers.hf_argparser import HfArg

from data_provider.datasets import CUSTOM, DATASETS, M4, unknown_name_message


@dataclass(frozen=True)
class DataConfig:
    """Flags of the data set, its columns, splits and windows."""

    data: str = HfArg(
        default="demo",
        help=f"name of the data set: {', '.join(DATASETS)}, {M4}, or `custom` for the table at --data_path; several "
        "benchmark sets, separated by commas, train one UniTime",
        metadata={"role": "cell"},
    )
    root_path: str = HfArg(default="dataset", help="folder of the data sets", metadata={"role": "place"})
    data_path: str | None = HfArg(
        default=None,
        help="CSV or Parquet file, as given or under --root_path (default: the data set's own file)",
        metadata={"role": "cell"},
    )
    features: Literal["M", "S", "MS"] = HfArg(
        default="M",
        help="M: all channels are read and forecast; S: only --target is; MS: all are read, only --target is "
        "evaluated (a channel-independent model then trains on every channel's rows)",
        metadata={"role": "cell"},
    )
    target: str = HfArg(default="OT", help="the target column of --features S and MS")
    seq_len: int = HfArg(default=512, help="look-back window, in time steps", metadata={"role": "cell"})
    pred_len: int = HfArg(default=96, help="horizon, in time steps", metadata={"role": "cell"})
    percent: int = HfArg(
        default=100,
        help="percentage of the training rows to use, 1 to 100, the oldest first (few-shot); the "
        "scaler is always fitted on the whole training split",
        metadata={"role": "cell"},
    )
    date_column: str | None = HfArg(
        default=None, help="column with the dates (custom data; default: found by name or content)"
    )
    columns: str | None = HfArg(
        default=None, help="channels to read, separated by commas (custom data; default: all columns)"
    )
    split: str | None = HfArg(
        default=None,
        help="custom data: fractions of training, validation and test such as 0.7,0.1,0.2 (the default), or "
        "the two dates at which validation and test begin, such as 2024-01-01,2024-06-01",
    )

    def __post_init__(self) -> None:
        names = self.data.split(",")
        for name in names:
            if name not in DATASETS and (len(names) > 1 or name not in (CUSTOM, M4)):
                raise ValueError(unknown_name_message(name))
        if len(set(names)) < len(names):
            raise ValueError(f"--data {self.data} names a data set twice")
        for name in ("seq_len", "pred_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1 time step, got {getattr(self, name)}")
        if not 1 <= self.percent <= 100:
            raise ValueError(f"--percent must be in 1..100, got {self.percent}")
        if self.data == CUSTOM and self.data_path is None:
            raise ValueError("--data custom needs --data_path FILE (a CSV or Parquet table)")
        given = [name for name in ("date_column", "columns", "split") if getattr(self, name) is not None]
        if self.data != CUSTOM and given:
            raise ValueError(
                f"{', '.join('--' + name for name in given)} only has a meaning with --data custom: the registry says "
                f"it for {self.data}"
            )
