"""From a data set to the windows of a split and the loader over them."""

from __future__ import annotations

import logging

import torch

from data_provider.config import DataConfig
from data_provider.loader import Loader, PromptInputs
from data_provider.row_store import MemoryBudget
from data_provider.series_info import WindowSource
from data_provider.splits import Split
from data_provider.windows import Windows

logger = logging.getLogger(__name__)


def data_provider(
    series: WindowSource,
    split: Split,
    *,
    config: DataConfig,
    channel_independent: bool,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    rank: int = 0,
    num_processes: int = 1,
    prompt_inputs: PromptInputs | None = None,
    memory: MemoryBudget | None = None,
    needs_time_features: bool = False,
) -> tuple[Windows, Loader]:
    """The windows of a split and the loader over this rank's share of them, `batch_size` rows a rank and step.

    Training rows are shuffled by (seed, epoch), those of every other split come in order.
    """
    windows = series.windows(
        split,
        config=config,
        channel_independent=channel_independent,
        needs_time_features=needs_time_features,
        device=device,
    )
    loader = Loader(
        windows,
        batch_size=batch_size,
        shuffle=split == "train",
        seed=seed,
        rank=rank,
        num_processes=num_processes,
        prompt_inputs=prompt_inputs,
        memory=memory,
    )
    if loader.num_left_out and rank == 0:
        logger.info("%d rows per epoch are left out: too few for %d processes", loader.num_left_out, num_processes)
    return windows, loader
