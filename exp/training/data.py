"""A split as an experiment uses it: its windows, the loader over them, and what each row brings along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor

from data_provider.data_factory import BatchLoader, data_provider
from data_provider.row_store import MemoryBudget
from data_provider.series import Series
from data_provider.splits import Split
from data_provider.windows import Batch, Windows
from exp.exp_basic import Settings
from exp.training.feature_cache import FeatureCache
from exp.training.runtime import Runtime
from models.base import Forecaster

DEV_RUN_STEPS = 2


@dataclass(frozen=True)
class SplitData:
    """Windows, loader and row inputs of one split for one model."""

    windows: Windows
    loader: Any
    feature_cache: FeatureCache
    provider: BatchLoader

    @classmethod
    def of(cls, runtime: Runtime, model: Forecaster, series: Series, split: Split, *, settings: Settings) -> Self:
        """The split of `series` cut as `model` reads it."""
        train = settings.train
        has_constants = type(model).prompt_inputs is not Forecaster.prompt_inputs
        windows, loader = data_provider(
            series,
            split,
            config=settings.data,
            channel_independent=model.channel_independent,
            batch_size=train.batch_size if split == "train" else train.rows_per_evaluation_batch,
            seed=train.seed,
            device=runtime.device,
            process_index=runtime.process_index,
            num_processes=runtime.num_processes,
            constants=model.prompt_inputs if has_constants else None,
            constants_budget=runtime.row_memory,
            needs_time_features=model.needs_time_features,
        )
        feature_cache = FeatureCache(model, num_rows=len(windows), budget=runtime.row_memory)
        steps = FirstSteps(loader, DEV_RUN_STEPS) if train.fast_dev_run else loader
        return cls(windows, steps, feature_cache, loader)

    def for_model(self, model: Forecaster) -> SplitData:
        """The same rows for a model without row constants (the naive forecasts)."""
        provider = BatchLoader(self.windows, self.provider.row_batches)
        steps = FirstSteps(provider, len(self.loader)) if isinstance(self.loader, FirstSteps) else provider
        return replace(
            self, loader=steps, provider=provider, feature_cache=FeatureCache(model, num_rows=0, budget=MemoryBudget(0))
        )

    def rows_of_windows(self, windows: list[int]) -> Tensor:
        """The rows that belong to these windows, window by window, channels in order."""
        if not self.windows.channel_independent:
            return torch.tensor(windows)
        num_channels = len(self.windows.row_channels)
        return (torch.tensor(windows)[:, None] * num_channels + torch.arange(num_channels)).flatten()


class FirstSteps:
    """The first steps of each pass over a loader (`--fast_dev_run`)."""

    def __init__(self, loader: BatchLoader, num_steps: int):
        self.loader, self.num_steps, self.first = loader, num_steps, 0

    def __len__(self) -> int:
        return min(self.num_steps, len(self.loader))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation of the next pass."""
        self.loader.set_epoch(epoch)

    def start_at(self, step: int) -> None:
        """Lets the next pass begin at this step."""
        self.first = step
        self.loader.start_at(step)

    def __iter__(self) -> Iterator[Batch]:
        first, self.first = self.first, 0
        return islice(iter(self.loader), max(len(self) - first, 0))
