"""What models and run records know of a data set: its channels, time step and scaler, but none of its values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import torch

from data_provider.config import DataConfig
from data_provider.scaling import Standardizer
from data_provider.splits import Split
from data_provider.windows import Windows


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesInfo:
    """A data set without its values.

    `target_channels` are the channels that are evaluated, `time_step` is a pandas offset string, `season_length` the
    strongest natural cycle in time steps, `fingerprint` the SHA-256 of the file.
    """

    name: str
    columns: list[str]
    target_channels: list[int]
    time_step: str
    season_length: int
    scaler: Standardizer
    fingerprint: str
    is_demo: bool = False

    @property
    def num_channels(self) -> int:
        """Channels that a model reads."""
        return len(self.columns)

    @property
    def target_columns(self) -> list[str]:
        """Names of the evaluated channels."""
        return [self.columns[channel] for channel in self.target_channels]

    def to_record(self) -> dict[str, Any]:
        """JSON values for config.json and checkpoints."""
        names = ("name", "columns", "target_channels", "time_step", "season_length", "fingerprint")
        return {**{name: getattr(self, name) for name in names}, "scaler": self.scaler.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`."""
        return cls(**{**record, "scaler": Standardizer.from_dict(record["scaler"])})


class WindowSource(SeriesInfo, ABC):
    """A data set that an experiment can train on: it can cut the windows of each split."""

    @abstractmethod
    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        channel_independent: bool,
        needs_time_features: bool = False,
        device: torch.device | str = "cpu",
    ) -> Windows:
        """The windows of a split in scaled units; ValueError where the split is too short for one."""
