"""The order in which a loader visits rows, and how ranks share it."""

import numpy as np
import pytest
import torch

from data_provider.batches.loader import Loader
from data_provider.windows import Windows


def loader_of(num_rows: int, **options) -> Loader:
    """A loader over so many windows of one step and a horizon of one."""
    windows = Windows(np.zeros((num_rows + 1, 1)), seq_len=1, pred_len=1, channel_independent=False)
    return Loader(windows, **options)


def epochs(num_rows: int, *, batch_size: int, num_processes: int, shuffle: bool = True, epoch: int = 0) -> list[list]:
    """Each rank's batches of one epoch."""
    result = []
    for process in range(num_processes):
        loader = loader_of(
            num_rows, batch_size=batch_size, shuffle=shuffle, seed=3, rank=process, num_processes=num_processes
        )
        result.append(list(loader.epoch(epoch)))
        assert len(loader) == len(result[-1])
    return result


def rows_in_order(shares: list[list]) -> list[int]:
    """The rows of all processes, global batch by global batch."""
    num_steps = max(len(share) for share in shares)
    return [
        row for step in range(num_steps) for share in shares if step < len(share) for row in share[step].rows.tolist()
    ]


@pytest.mark.parametrize(("num_processes", "batch_size"), [(1, 12), (2, 6), (3, 4), (4, 3)])
def test_all_process_counts_visit_the_same_permutation(num_processes: int, batch_size: int):
    reference = rows_in_order(epochs(103, batch_size=12, num_processes=1))
    assert sorted(reference) == list(range(103))
    assert rows_in_order(epochs(103, batch_size=batch_size, num_processes=num_processes)) == reference


def test_the_last_global_batch_is_kept_and_divided_evenly():
    shares = epochs(103, batch_size=4, num_processes=3)
    last = [share[-1] for share in shares]
    assert sorted(len(part.rows) for part in last) == [2, 2, 3]
    assert {part.num_global_rows for part in last} == {7}
    assert {len(share) for share in shares} == {9}


def test_training_leaves_out_rows_that_cannot_give_every_process_one():
    shares = epochs(26, batch_size=4, num_processes=3)
    assert {len(share) for share in shares} == {2}
    assert len(rows_in_order(shares)) == 24
    assert loader_of(26, batch_size=4, shuffle=True, num_processes=3).num_left_out == 2


@pytest.mark.parametrize("num_rows", [1, 24, 25, 26, 35])
def test_evaluation_visits_every_row_once_in_order(num_rows: int):
    shares = epochs(num_rows, batch_size=4, num_processes=3, shuffle=False)
    assert rows_in_order(shares) == list(range(num_rows))


def test_epochs_and_seeds_differ_and_repeat_themselves():
    def order(seed: int, epoch: int) -> list[int]:
        loader = loader_of(50, batch_size=50, shuffle=True, seed=seed)
        return next(loader.epoch(epoch)).rows.tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_the_order_does_not_touch_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(loader_of(10, batch_size=2, shuffle=True, seed=1))
    assert torch.equal(torch.rand(1), expected)


def test_an_epoch_can_begin_at_a_later_step():
    loader = loader_of(23, batch_size=4, shuffle=True, seed=1)
    whole = [batch.rows.tolist() for batch in loader]
    assert [batch.rows.tolist() for batch in loader.epoch(0, first_step=4)] == whole[4:]
    assert [batch.rows.tolist() for batch in loader] == whole


def test_a_batch_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="--batch_size must be at least 1 row, got 0"):
        loader_of(3, batch_size=0, shuffle=True)
