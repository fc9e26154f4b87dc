"""Flags of a training on several data sets, and what they say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from transformers.hf_argparser import HfArg

from data_provider.config import DataConfig
from exp.config import TrainConfig

T = TypeVar("T")


@dataclass(frozen=True)
class JointConfig:
    """What differs between the data sets of `--data A,B,...`: one value for each, in their order, or one for all."""

    seq_lens: list[int] = HfArg(default_factory=list, help="look-back of each data set (default: --seq_len)")
    pred_lens: list[int] = HfArg(
        default_factory=list, help="horizon that each data set is trained on (default: --pred_len)"
    )
    test_pred_lens: list[str] = HfArg(
        default_factory=list,
        help="horizons that each data set is tested at, such as 96/192/336/720 (default: the one of training)",
    )
    strides: list[int] = HfArg(default_factory=list, help="stride between patches of each (default: --stride)")
    batch_sizes: list[int] = HfArg(default_factory=list, help="rows per step of each (default: --batch_size)")
    repeats: list[int] = HfArg(
        default_factory=list, help="how often an epoch goes through each data set (default: once)"
    )

    def __post_init__(self) -> None:
        for name in ("seq_lens", "pred_lens", "strides", "batch_sizes", "repeats"):
            if any(value < 1 for value in getattr(self, name)):
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Part:
    """One of the data sets: its data and training flags, its stride, and the horizons it is tested at."""

    data: DataConfig
    train: TrainConfig
    stride: int | None
    repeats: int
    test_pred_lens: list[int]


def parts_of(data: DataConfig, train: TrainConfig, joint: JointConfig) -> list[Part]:
    """What the flags say of each data set of `--data`. Raises ValueError for a wrong number of values."""
    names = data.data.split(",")
    count = len(names)
    seq_lens = _for_each("seq_lens", joint.seq_lens, count, data.seq_len)
    pred_lens = _for_each("pred_lens", joint.pred_lens, count, data.pred_len)
    horizons = _for_each("test_pred_lens", joint.test_pred_lens, count, "")
    strides = _for_each("strides", joint.strides, count, None)
    batch_sizes = _for_each("batch_sizes", joint.batch_sizes, count, train.batch_size)
    repeats = _for_each("repeats", joint.repeats, count, 1)
    return [
        Part(
            replace(data, data=names[index], seq_len=seq_lens[index], pred_len=pred_lens[index]),
            replace(train, batch_size=batch_sizes[index]),
            strides[index],
            repeats[index],
            _horizons(horizons[index], pred_lens[index]),
        )
        for index in range(count)
    ]


def _for_each(name: str, values: Sequence[T], count: int, default: T) -> list[T]:
    if len(values) <= 1:
        return [values[0] if values else default] * count
    if len(values) != count:
        raise ValueError(f"--{name} needs one value, or one for each of the {count} data sets, got {len(values)}")
    return list(values)


def _horizons(text: str, pred_len: int) -> list[int]:
    if not text:
        return [pred_len]
    if not all(word.isdecimal() and 0 < int(word) <= pred_len for word in text.split("/")):
        raise ValueError(
            f"--test_pred_lens must be horizons of at most the one of training ({pred_len}), such as 24/48, got {text}"
        )
    return [int(word) for word in text.split("/")]
