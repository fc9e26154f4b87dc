"""Panels: series of one kind that have dates of their own, each with its own splits and scaler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float64
from numpy import ndarray

from data_provider.config import DataConfig
from data_provider.panel.windows import PanelPart, PanelWindows
from data_provider.series import WindowSource
from data_provider.splits import Borders, Split, rows_of_split


@dataclass(frozen=True, eq=False)
class PanelSeries:
    """The dates and values of one series, in original units, and the borders of its splits."""

    dates: pd.DatetimeIndex
    values: Float64[ndarray, "time"]
    borders: Borders


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel(WindowSource):
    """Series of different lengths or dates: windows lie within a series, and a row is a window of one of them.

    `parts` are in the order of `columns`, their names. `notes` are remarks on the file, for the log.
    """

    parts: list[PanelSeries]
    notes: list[str] = field(default_factory=list)
    is_panel: bool = True

    def windows(
        self,
        split: Split,
        *,
        config: DataConfig,
        needs_time_features: bool = False,
        time_feature_step: str | None = None,
        device: torch.device | str = "cpu",
        **_: Any,
    ) -> PanelWindows:
        """The windows of a split in scaled units, those of one series after those of another."""
        chosen = []
        for number, part in enumerate(self.parts):
            rows = rows_of_split(
                part.borders, split, seq_len=config.seq_len, pred_len=config.pred_len, percent=config.percent
            )
            dates, values = part.dates[rows.start : rows.stop], part.values[rows.start : rows.stop]
            features = None
            if needs_time_features:
                from data_provider.time_features import time_features

                features = time_features(dates, time_feature_step or self.time_step)
            scaled = (values - self.scaler.mean[number]) / self.scaler.scale[number]
            chosen.append(PanelPart(scaled, values, dates, features))
        return PanelWindows(chosen, seq_len=config.seq_len, pred_len=config.pred_len, device=device)
