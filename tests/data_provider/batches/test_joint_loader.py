"""Batches of several data sets: each once an epoch, drawn by seed and epoch alone, the same after a resume."""

from __future__ import annotations

import torch

from data_provider.batches.joint_loader import JointLoader
from data_provider.batches.loader import Loader
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider
from data_provider.series import Series


def loader_of(series: Series, config: DataConfig, batch_size: int, *, rank: int = 0, num_processes: int = 1) -> Loader:
    _, loader = data_provider(
        series,
        "train",
        config=config,
        channel_independent=True,
        batch_size=batch_size,
        seed=1,
        rank=rank,
        num_processes=num_processes,
    )
    return loader


def joint(series: Series, config: DataConfig, *, rank: int = 0, num_processes: int = 1) -> JointLoader:
    loaders = [loader_of(series, config, size, rank=rank, num_processes=num_processes) for size in (32, 90)]
    return JointLoader(loaders, seed=5)


def test_an_epoch_has_every_row_of_every_loader_once(series: Series, config: DataConfig):
    both = joint(series, config)
    batches = list(both.epoch(0))
    assert len(batches) == len(both) == sum(len(loader) for loader in both.loaders)
    rows = torch.cat([batch.rows for batch in batches]).sort().values
    assert torch.equal(rows, torch.arange(both.loaders[0].num_rows).repeat_interleave(2))


def test_a_resumed_epoch_goes_on_with_the_same_batches(series: Series, config: DataConfig):
    whole = [batch.rows for batch in joint(series, config).epoch(3)]
    for first in (1, 4, len(whole)):
        rest = [batch.rows for batch in joint(series, config).epoch(3, first_step=first)]
        assert len(rest) == len(whole) - first
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[first:], strict=True))


def test_epochs_differ_and_ranks_draw_the_same_data_set(series: Series, config: DataConfig):
    both = joint(series, config)
    assert len({tuple(both.draws(epoch)) for epoch in range(5)}) > 1
    ranks = [joint(series, config, rank=rank, num_processes=2) for rank in range(2)]
    assert ranks[0].draws(1) == ranks[1].draws(1)


def test_loaders_are_drawn_with_equal_probability_until_they_are_exhausted(series: Series, config: DataConfig):
    """The smaller one is exhausted first, although it has the share of one in two of the draws."""
    long, short = loader_of(series, config, 1), loader_of(series, config, 4)
    draws = JointLoader([long, short], seed=0).draws(0)
    last_of_short = max(step for step, index in enumerate(draws) if index == 1)
    share = draws[: last_of_short + 1].count(1) / (last_of_short + 1)
    assert 0.4 < share < 0.6
    assert set(draws[last_of_short + 1 :]) == {0}
