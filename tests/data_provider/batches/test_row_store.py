"""The memo of rows: nothing computed twice that fits, nothing changed by keeping it."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.batches.row_store import RowStore


class Recorder:
    """Computes values that depend on the row alone, and remembers what it was asked."""

    def __init__(self, width=lambda _: 3, dtype=torch.float32) -> None:
        self.asked: list[int] = []
        self.width, self.dtype = width, dtype

    def __call__(self, rows: Tensor) -> dict[str, Tensor]:
        self.asked += rows.tolist()
        values = (rows[:, None] * 10 + torch.arange(self.width(rows)) + 1).to(self.dtype)
        return {"values": values, "scalar": rows.to(torch.int32)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32, torch.uint16, torch.int64])
def test_a_row_is_computed_once_and_comes_back_the_same(dtype: torch.dtype):
    store, compute = RowStore(10, budget=MemoryBudget(10_000)), Recorder(dtype=dtype)
    store.get(torch.tensor([1, 2]), compute)
    got = store.get(torch.tensor([2, 5, 1, 2]), compute)
    assert compute.asked == [1, 2, 5]
    assert got["values"].dtype == dtype
    assert got["values"].tolist() == Recorder(dtype=dtype)(torch.tensor([2, 5, 1, 2]))["values"].tolist()
    assert got["scalar"].tolist() == [2, 5, 1, 2]


def num_kept(store: RowStore) -> int:
    return sum(store.is_kept(row) for row in range(store.num_rows))


def test_shorter_rows_are_padded_with_zeros_and_the_width_is_that_of_the_batch():
    store, compute = RowStore(10, budget=MemoryBudget(10_000)), Recorder(width=lambda rows: int(rows.max()))
    assert store.get(torch.tensor([2]), compute)["values"].tolist() == [[21, 22]]
    got = store.get(torch.tensor([4, 2]), compute)
    assert got["values"].tolist() == [[41, 42, 43, 44], [21, 22, 0, 0]]
    assert store.get(torch.tensor([2]), compute)["values"].tolist() == [[21, 22]]
    assert compute.asked == [2, 4]


def test_tensors_with_more_axes_grow_along_the_second():
    def compute(rows: Tensor) -> dict[str, Tensor]:
        return {"states": rows.float()[:, None, None].expand(-1, int(rows.max()), 2)}

    store = RowStore(5, budget=MemoryBudget(10_000))
    store.get(torch.tensor([1]), compute)
    got = store.get(torch.tensor([3, 1]), compute)["states"]
    assert got.shape == (2, 3, 2)
    assert got[1].tolist() == [[1, 1], [0, 0], [0, 0]]


def test_only_the_first_rows_within_the_budget_are_kept():
    store, compute = RowStore(100, budget=MemoryBudget(16 * 10)), Recorder()  # 3 x 4 + 4 bytes a row
    rows = torch.tensor([3, 50, 9, 10])
    for _ in range(2):
        got = store.get(rows, compute)
        assert got["scalar"].tolist() == [3, 50, 9, 10]
        assert got["values"][:, 0].tolist() == [31, 501, 91, 101]
    assert compute.asked == [3, 50, 9, 10, 50, 10]
    assert num_kept(store) == 2


def test_growing_stays_within_the_budget():
    store, compute = RowStore(20, budget=MemoryBudget(8 * 20)), Recorder(width=lambda rows: 1 if rows.max() < 15 else 9)
    store.get(torch.arange(10), compute)
    store.get(torch.tensor([16]), compute)
    assert num_kept(store) == 4  # 40 bytes a row from now on
    assert store.get(torch.tensor([9, 3]), compute)["scalar"].tolist() == [9, 3]


def test_no_budget_computes_every_time():
    store, compute = RowStore(5, budget=MemoryBudget(0)), Recorder()
    for _ in range(2):
        assert store.get(torch.tensor([1]), compute)["scalar"].tolist() == [1]
    assert compute.asked == [1, 1]


def test_clear_forgets():
    store, compute = RowStore(5, budget=MemoryBudget(1000)), Recorder()
    store.get(torch.tensor([1]), compute)
    store.clear()
    store.get(torch.tensor([1]), compute)
    assert compute.asked == [1, 1]


def test_a_constant_without_an_entry_per_row_is_named():
    with pytest.raises(ValueError, match="the constant odd must have one entry per row"):
        RowStore(5, budget=MemoryBudget(1000)).get(torch.tensor([1, 2]), lambda _: {"odd": torch.zeros(3)})


def test_threads_may_share_a_store():
    store, compute, wrong = RowStore(200, budget=MemoryBudget(100_000)), Recorder(), []

    def read(seed: int) -> None:
        rows = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
        for part in rows.split(16):
            if store.get(part, compute)["scalar"].tolist() != part.tolist():
                wrong.append(part)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(compute.asked) == list(range(200))


def test_stores_that_share_a_budget_never_hold_more_than_it_together() -> None:
    budget = MemoryBudget(160)
    first, second = RowStore(8, budget=budget), RowStore(100, budget=budget)
    for store in (first, second):
        store.get(torch.arange(8), lambda rows: {"value": rows.double()})
        store.get(torch.arange(store.num_rows), lambda rows: {"value": rows.double()})
    assert (num_kept(first), num_kept(second)) == (8, 12)
    first.clear()
    assert budget.open_to(second) == 160


def test_a_model_without_anything_to_keep_gets_nothing() -> None:
    store = RowStore(4, budget=MemoryBudget(1000))
    assert store.get(torch.tensor([1, 2]), lambda _: {}) == {}
    assert num_kept(store) == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process's memory")
def test_memory_is_taken_by_the_rows_that_are_kept_alone() -> None:
    def resident() -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    store = RowStore(5_000_000, budget=MemoryBudget(2**31))
    before = resident()
    for width in (60, 64, 80):  # grows twice
        store.get(torch.arange(0, 100) + width, lambda rows, width=width: {"ids": torch.ones(len(rows), width).short()})
    assert store.get(torch.tensor([60]), lambda _: {})["ids"].sum() == 60
    assert resident() - before < 100 * 2**20  # all rows together would take 750 MiB
