"""Data flags: which table is read and how windows are cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from transformers.hf_argparser import HfArg

from data_provider.datasets import CUSTOM, DATASETS, M4, unknown_name_message
from utils.intervals.quantiles import parse_quantiles

READING_FLAGS = (
    "date_column",
    "columns",
    "date_format",
    "decimal",
    "thousands",
    "series_column",
    "value_column",
    "encoding",
)
FILES = {name: benchmark.file for name, benchmark in DATASETS.items()}


@dataclass(frozen=True)
class DataConfig:
    """Flags of the data set, its columns, splits and windows."""

    # Runs without them keep their ids.
    flags_added_later: ClassVar[tuple[str, ...]] = ("quantiles",)

    data: str = HfArg(
        default="demo",
        help=f"name of the data set: {', '.join(DATASETS)}, {M4}, or `custom` for the table at --data_path; several "
        "benchmark sets, separated by commas, train one UniTime",
        metadata={"role": "cell"},
    )
    root_path: str = HfArg(default="dataset", help="folder of the data sets", metadata={"role": "place"})
    data_path: str | None = HfArg(
        default=None,
        help="table (CSV, Parquet, Feather, .xlsx, also .gz or .zip), as given or under --root_path (default: the data "
        "set's own file)",
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
    quantiles: str | None = HfArg(
        default=None,
        help="levels of quantiles to forecast, such as 0.1,0.5,0.9; 0.5 is the forecast itself, the loss pinball",
    )
    percent: int = HfArg(
        default=100,
        help="percentage of the training rows to use, 1 to 100, the oldest first (few-shot); the "
        "scaler is always fitted on the whole training split",
        metadata={"role": "cell"},
    )
    date_column: str | None = HfArg(
        default=None,
        help="column with the dates, or two with date and time, such as date,time (custom data; default: found)",
    )
    columns: str | None = HfArg(
        default=None,
        help='channels to read, separated by commas, one with a comma in its name in quotes: a,"b, c" (custom data; '
        "default: all columns)",
    )
    split: str | None = HfArg(
        default=None,
        help="custom data: fractions of training, validation and test such as 0.7,0.1,0.2 (the default), or "
        "the two dates at which validation and test begin, such as 2024-01-01,2024-06-01",
    )
    date_format: str | None = HfArg(
        default=None,
        help="how dates are written, in the file and in --split, such as %%d.%%m.%%Y, or s, ms, us, ns since 1970 "
        "(custom data; default: found, and refused where two readings are possible)",
        metadata={"role": "reading"},
    )
    decimal: str | None = HfArg(
        default=None,
        help="decimal mark, . or , (custom data; default: found where it is certain)",
        metadata={"role": "reading"},
    )
    thousands: str | None = HfArg(
        default=None,
        help="mark between thousands: . , space or none (custom data; default: found where it is certain)",
        metadata={"role": "reading"},
    )
    series_column: str | None = HfArg(
        default=None,
        help="long format: the column that says to which series a row belongs; each series is a channel (custom data; "
        "default: unique_id, if there is one)",
        metadata={"role": "reading"},
    )
    value_column: str | None = HfArg(
        default=None,
        help="long format: the column of values (custom data; default: y, value or the only one)",
        metadata={"role": "reading"},
    )
    encoding: str | None = HfArg(
        default=None,
        help="encoding of a text file, such as gbk or cp1251 (custom data; default: UTF-8, UTF-16 or Latin-1)",
        metadata={"role": "reading"},
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
        if self.quantiles is not None:
            # 0.10,0.5,.9 and 0.1,0.5,0.9 are the same run.
            levels = ",".join(f"{level:g}" for level in parse_quantiles(self.quantiles))
            object.__setattr__(self, "quantiles", levels)
        if not 1 <= self.percent <= 100:
            raise ValueError(f"--percent must be in 1..100, got {self.percent}")
        if self.data == CUSTOM and self.data_path is None:
            raise ValueError("--data custom needs --data_path FILE (a CSV or Parquet table)")
        given = [name for name in (*READING_FLAGS, "split") if getattr(self, name) is not None]
        if self.data != CUSTOM and given:
            raise ValueError(
                f"{', '.join('--' + name for name in given)} only has a meaning with --data custom: the registry says "
                f"it for {self.data}, as published, so that results can be compared; to read its file otherwise: "
                f"--data custom --data_path {self.root_path}/{FILES.get(self.data, self.data)}"
            )

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """The levels of the quantiles to forecast; empty if there are none."""
        return parse_quantiles(self.quantiles) if self.quantiles else ()
