"""The loader: batches with their inputs, made ahead in one thread."""

import threading
import time

import pytest
import torch

from data_provider.batches.loader import prefetch
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider
from data_provider.series import Series
from data_provider.splits import Split


def prefetch_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def loader_of(series: Series, config: DataConfig, split: Split = "train", **changes):
    options = {"channel_independent": True, "batch_size": 16, "seed": 1, **changes}
    return data_provider(series, split, config=config, **options)[1]


def test_prompt_inputs_are_those_of_their_row_and_computed_once(series: Series, config: DataConfig):
    asked = []

    def prompt_inputs(look_back: torch.Tensor) -> dict[str, torch.Tensor]:
        asked.append(len(look_back))
        return {"mean": look_back.mean(dim=(1, 2))}

    loader = loader_of(series, config, prompt_inputs=prompt_inputs)
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            assert torch.equal(batch.inputs["mean"], batch.look_back.mean(dim=(1, 2)))
    assert sum(asked) == 73 * 3


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_gives_every_row_once_in_order_whatever_the_batch_size(
    series: Series, config: DataConfig, batch_size: int
):
    rows = torch.cat([batch.rows for batch in loader_of(series, config, "test", batch_size=batch_size)])
    assert rows.tolist() == list(range(21 * 3))


def test_training_is_shuffled_by_seed_and_epoch_and_can_resume(series: Series, config: DataConfig):
    loader = loader_of(series, config)
    first = [batch.rows.tolist() for batch in loader]
    assert sorted(row for rows in first for row in rows) == list(range(73 * 3))
    assert first != [list(range(i, i + 16)) for i in range(0, 219, 16)]
    second = [batch.rows.tolist() for batch in loader.epoch(1)]
    assert second != first
    assert [batch.rows.tolist() for batch in loader.epoch(1, first_step=5)] == second[5:]
    assert len(loader) == len(first) == 14


def test_processes_share_each_global_batch(series: Series, config: DataConfig):
    whole = list(loader_of(series, config, batch_size=16))
    parts = [loader_of(series, config, batch_size=8, rank=index, num_processes=2) for index in range(2)]
    for together, left, right in zip(whole, *parts, strict=True):
        assert torch.equal(together.look_back, torch.cat([left.look_back, right.look_back]))
        assert together.num_global_rows == left.num_global_rows == right.num_global_rows == len(together.rows)


def test_an_error_while_making_prompt_inputs_reaches_the_loop(series: Series, config: DataConfig):
    def prompt_inputs(look_back: torch.Tensor) -> dict[str, torch.Tensor]:
        raise ValueError(f"a prompt of {len(look_back)} rows is too long")

    with pytest.raises(ValueError, match="16 rows is too long"):
        list(loader_of(series, config, prompt_inputs=prompt_inputs))
    assert prefetch_threads() == 0


def test_a_loop_that_stops_early_leaves_no_thread(series: Series, config: DataConfig):
    loader = loader_of(series, config, batch_size=1, prompt_inputs=lambda rows: {"mean": rows.mean(dim=(1, 2))})
    for _ in loader:
        break
    time.sleep(0.01)
    assert prefetch_threads() == 0


def test_prefetch_keeps_the_order_and_runs_ahead_only_so_far():
    made = []

    def produce():
        for item in range(20):
            made.append(item)
            yield item

    items = prefetch(produce(), depth=2)
    assert next(items) == 0
    time.sleep(0.1)
    assert len(made) <= 5
    assert list(items) == list(range(1, 20))


def test_two_passes_at_once_do_not_mix(series: Series, config: DataConfig):
    loader = loader_of(series, config, "test", prompt_inputs=lambda rows: {"mean": rows.mean(dim=(1, 2))})
    for one, other in zip(loader, loader, strict=True):
        assert torch.equal(one.rows, other.rows)


def test_first_steps_share_the_stored_inputs_and_end_at_the_last_step(series: Series, config: DataConfig):
    asked = []

    def prompt_inputs(look_back: torch.Tensor) -> dict[str, torch.Tensor]:
        asked.append(len(look_back))
        return {"mean": look_back.mean(dim=(1, 2))}

    loader = loader_of(series, config, "test", prompt_inputs=prompt_inputs)
    list(loader)
    short = loader.first_steps(2)
    assert [batch.rows.tolist() for batch in short] == [list(range(16)), list(range(16, 32))]
    assert (len(short), len(loader.first_steps(100)), sum(asked)) == (2, len(loader), 63)
    assert list(short.epoch(0, first_step=2)) == []


def test_the_features_hook_replaces_the_inputs_of_each_batch(series: Series, config: DataConfig):
    loader = loader_of(series, config, "test", prompt_inputs=lambda rows: {"mean": rows.mean(dim=(1, 2))})
    loader.features = lambda batch: {"double": 2 * batch.inputs["mean"]}
    for batch in loader:
        assert set(batch.inputs) == {"double"}
        assert torch.equal(batch.inputs["double"], 2 * batch.look_back.mean(dim=(1, 2)))
    rows = torch.tensor([3, 1])
    assert set(loader.batch(rows).inputs) == {"double"}
    assert set(loader.batch(rows, with_features=False).inputs) == {"mean"}


def test_a_loader_without_inputs_gives_the_same_rows(series: Series, config: DataConfig):
    loader = loader_of(
        series, config, "test", needs_time_features=True, prompt_inputs=lambda rows: {"mean": rows.mean(dim=(1, 2))}
    )
    for plain, batch in zip(loader.without_inputs(), loader, strict=True):
        assert plain.inputs == {}
        assert set(batch.inputs) == {"mean", "time_features"}
        assert torch.equal(plain.look_back, batch.look_back)


def test_permuted_prompts_are_all_prompts_of_the_split_in_another_order_whatever_the_batch(series, config):
    def prompts(**changes) -> torch.Tensor:
        inputs = {"prompt_inputs": lambda rows: {"first": rows[:, 0, 0]}}
        loader = loader_of(series, config, "test", **{**inputs, **changes})
        return torch.cat([batch.inputs["first"] for batch in loader])

    own = prompts()
    permuted = prompts(permutes_prompts=True)
    assert (permuted != own).float().mean() > 0.9
    assert torch.equal(permuted.sort().values, own.sort().values)
    assert torch.equal(prompts(permutes_prompts=True, batch_size=5, seed=7), permuted)
