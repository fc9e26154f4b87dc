"""Load the data set of the flags, and build the windows and loader of a split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data_provider.batches.loader import Loader, PromptInputs
from data_provider.batches.memory_budget import MemoryBudget
from data_provider.config import DataConfig
from data_provider.datasets import CUSTOM, DATASETS, M4, sha256_of
from data_provider.panel import Panel
from data_provider.series import Series, WindowSource, benchmark_series
from data_provider.splits import Split
from data_provider.windows import Windows

logger = logging.getLogger(__name__)


def load_series(config: DataConfig) -> Series:
    """`load_data` of a table whose channels have common dates. Raises ValueError for another, too."""
    series = load_data(config)
    if not isinstance(series, Series):
        raise ValueError(f"{file_of(config)} holds series with dates of their own, which only training reads")
    return series


def load_data(config: DataConfig, *, known_future: Sequence[str] = ()) -> Series | Panel:
    """Read and validate the series that `config` names, with the columns `known_future`, and log its notes.

    Raises FileNotFoundError for a missing file and ValueError for an invalid one.
    """
    if "," in config.data:
        raise ValueError(
            f"--data {config.data} names several data sets: only --task_name joint_forecast trains on more than one"
        )
    if config.data == M4:
        raise ValueError(f"--data {M4} is a set of many short series: forecast it with --task_name short_term_forecast")
    if known_future and config.data != CUSTOM:
        raise ValueError(f"--known_future only has a meaning with --data custom, not with {config.data}")
    path = file_of(config)
    fingerprint = sha256_of(path)
    if config.data != CUSTOM and fingerprint == DATASETS[config.data].sha256:
        series = _published(config, path)
    else:
        # Imported only if needed: a published file needs none of these checks.
        from data_provider.tables import own_table

        series = own_table.load(config, path, fingerprint=fingerprint, known_future=known_future)
    for note in series.notes:
        logger.info("%s: %s", path, note)
    return replace(series, fingerprint=fingerprint)


def file_of(config: DataConfig) -> Path:
    """Path of the data file: --data_path, as given or under --root_path, or else the registry's file."""
    root = Path(config.root_path)
    if config.data_path is not None:
        candidates = [Path(config.data_path), root / config.data_path]
    else:
        candidates = [root / DATASETS[config.data].file]
        if config.root_path == DataConfig.root_path:
            # The command may be started from another folder, and an installed package brings the demo set along.
            candidates.append(Path(__file__).parent.parent / "dataset" / DATASETS[config.data].file)
    for path in candidates:
        if path.is_file():
            return path
    if config.data == CUSTOM:
        raise FileNotFoundError(f"--data_path {config.data_path} is missing (also under --root_path {root})")
    way_out = (
        "python -m data_provider.demo" if config.data == "demo" else f"python -m data_provider.download {config.data}"
    )
    raise FileNotFoundError(
        f"{candidates[0]} is missing: run `{way_out}`, or point --root_path at the folder that holds "
        f"{DATASETS[config.data].file} (dataset/README.md)"
    )


def _published(config: DataConfig, path: Path) -> Series:
    """Read a benchmark file whose SHA-256 is the published one; it needs no checks."""
    benchmark = DATASETS[config.data]
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, engine="pyarrow")
    dates = pd.DatetimeIndex(pd.to_datetime(frame.pop("date")))
    values = frame.to_numpy(dtype=np.float64)
    notes = [f"the published file, used as it is: {benchmark.remark}"] if benchmark.remark else []
    return benchmark_series(config, path, dates, list(frame.columns), values, notes=notes)


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
    prompts_read_original: bool = False,
    permutes_prompts: bool = False,
    memory: MemoryBudget | None = None,
    needs_time_features: bool = False,
    time_feature_step: str | None = None,
) -> tuple[Windows, Loader]:
    """The windows of a split and this rank's loader, with `batch_size` rows per rank and step.

    Training rows are shuffled by (seed, epoch); validation and test rows come in order.
    """
    windows = series.windows(
        split,
        config=config,
        channel_independent=channel_independent,
        needs_time_features=needs_time_features,
        time_feature_step=time_feature_step,
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
        prompts_read_original=prompts_read_original,
        permutes_prompts=permutes_prompts,
        memory=memory,
    )
    if loader.num_left_out and rank == 0:
        logger.info("%d rows per epoch are left out: too few for %d processes", loader.num_left_out, num_processes)
    return windows, loader
