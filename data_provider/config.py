"""The flags that say which data are read and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from data_provider.datasets import CUSTOM, DATASETS, M4, unknown_name_message


@dataclass(frozen=True)
class DataConfig:
    """Which table is read, which of its columns are used, and how windows are cut from it."""

    data: str = field(
        default="demo",
        metadata={
            "help": f"name of the data set: {', '.join(DATASETS)}, {M4}, or `custom` for the table at --data_path"
        },
    )
    root_path: str = field(default="dataset", metadata={"help": "folder under which the data sets' files lie"})
    data_path: str | None = field(
        default=None,
        metadata={"help": "CSV or Parquet file, as it stands or under --root_path (default: the data set's own file)"},
    )
    features: Literal["M", "S", "MS"] = field(
        default="M",
        metadata={
            "help": "M: all channels are read and forecast; S: only --target is; MS: all are read, only --target is "
            "evaluated (a channel-independent model then trains on every channel's rows)"
        },
    )
    target: str = field(default="OT", metadata={"help": "the column that --features S and MS are about"})
    seq_len: int = field(default=512, metadata={"help": "look-back window, in time steps"})
    pred_len: int = field(default=96, metadata={"help": "horizon, in time steps"})
    percent: int = field(
        default=100,
        metadata={
            "help": "share of the training rows that is used, 1 to 100 percent, the oldest first (few-shot); the "
            "scaler is fitted on the full training range whatever the share"
        },
    )
    date_column: str | None = field(
        default=None, metadata={"help": "column with the dates (custom data; default: found by name or content)"}
    )
    columns: str | None = field(
        default=None, metadata={"help": "channels to read, separated by commas (custom data; default: all columns)"}
    )
    split: str | None = field(
        default=None,
        metadata={
            "help": "custom data: fractions of training, validation and test such as 0.7,0.1,0.2 (the default), or "
            "the two dates at which validation and test begin, such as 2024-01-01,2024-06-01"
        },
    )

    def __post_init__(self) -> None:
        if self.data not in (CUSTOM, M4) and self.data not in DATASETS:
            raise ValueError(unknown_name_message(self.data))
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
