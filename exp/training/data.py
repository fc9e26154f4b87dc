"""The loader of a split for one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_provider.batches.loader import Loader
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider
from data_provider.series import WindowSource
from data_provider.splits import Split
from exp.config import TrainConfig
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.time_steps import pandas_step

if TYPE_CHECKING:
    from exp.training.features.cache import FeatureCache

DEV_RUN_STEPS = 2


def split_loader(
    runtime: Runtime, model: Forecaster, series: WindowSource, split: Split, *, data: DataConfig, train: TrainConfig
) -> Loader:
    """The loader of a split of `series`, with rows and inputs as `model` needs them."""
    windows, loader = data_provider(
        series,
        split,
        config=data,
        channel_independent=model.channel_independent,
        batch_size=train.batch_size if split == "train" else train.rows_per_evaluation_batch,
        seed=train.seed,
        device=runtime.device,
        rank=runtime.rank,
        num_processes=runtime.num_processes,
        prompt_inputs=model.prompt_inputs if model.has_prompt_inputs else None,
        prompts_read_original=model.prompts_read_original,
        permutes_prompts=model.permutes_prompts,
        memory=runtime.row_memory,
        needs_time_features=model.needs_time_features,
        time_feature_step=model.time_feature_step(pandas_step(series.time_step)),
    )
    if model.has_prompt_inputs:
        from exp.training.features.cache import FeatureCache

        cache = FeatureCache(model, num_rows=len(windows), memory=runtime.row_memory, device=runtime.device)
        loader.features = cache
        if train.text_store is not None and model.features_identity():
            _use_text_store(cache, loader, train, device=runtime.device.type)
    return loader.first_steps(DEV_RUN_STEPS) if train.fast_dev_run else loader


def _use_text_store(cache: FeatureCache, loader: Loader, train: TrainConfig, *, device: str) -> None:
    """Keep the features of the split's texts in `--text_store`; a development run stores none."""
    from exp.training.features.reading import read_texts
    from exp.training.features.rows import SHAPES
    from exp.training.features.store import TextStore

    assert train.text_store is not None
    place, max_bytes = train.text_store, int(train.text_store_gb * 2**30)
    # Another device or other shapes round differently.
    here = {"device": device, "shapes": SHAPES}
    cache.open_store = lambda identity: TextStore(place, {**identity, **here}, max_bytes=max_bytes)
    if not train.fast_dev_run:
        cache.before = lambda store: read_texts(cache.model, loader, store)
