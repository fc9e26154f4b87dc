"""Rows of several processes in one tensor: order, shares of different length, and where gradients go."""

from __future__ import annotations

import multiprocessing

import torch
from torch import distributed

from layers.gather_rows import rows_of_all_processes


def test_a_single_process_has_its_own_rows():
    rows = torch.ones(3, 2)
    assert rows_of_all_processes(rows) is rows


def share(rank: int, path: str, answers) -> None:
    """Process `rank` has rank + 1 rows of its number and weighs the sum of all rows by rank + 1."""
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    rows = torch.full((rank + 1, 2), float(rank), requires_grad=True)
    gathered = rows_of_all_processes(rows)
    (gathered.sum() * (rank + 1)).backward()
    assert rows.grad is not None
    answers.put((rank, gathered.tolist(), rows.grad.tolist()))
    distributed.destroy_process_group()


def test_unequal_shares_stand_in_the_order_of_processes_and_get_the_gradients_of_all(tmp_path):
    context = multiprocessing.get_context("forkserver")
    answers = context.Queue()
    processes = [context.Process(target=share, args=(rank, str(tmp_path / "meet"), answers)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    for rank, gathered, gradient in found:
        assert gathered == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        assert gradient == [[3.0, 3.0]] * (rank + 1)
