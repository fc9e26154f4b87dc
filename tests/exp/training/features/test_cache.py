"""States of rows that are constant are computed once, and once for equal rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.windows import Batch
from exp.training.features.cache import FeatureCache
from models.base import Forecaster
from tests.models.small_balm import small_balm, walks


@dataclass(frozen=True)
class _Config:
    pass


class Doubling(Forecaster):
    """States are twice the row's number; it records which rows it was asked for."""

    Config = _Config

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[int]] = []
        self.version, self.constant = 0, True

    @property
    def features_are_constant(self) -> bool:
        return self.constant

    @property
    def cache_key(self) -> int:
        return self.version

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        number = prompt_inputs["number"]
        self.asked.append(number[:, 0].tolist())
        return {"state": 2.0 * number[:, :1]}


def batch(rows: list[int], numbers: list[int], width: int = 1) -> Batch:
    values = torch.zeros(len(rows), width, dtype=torch.int32)
    values[:, 0] = torch.tensor(numbers)
    look_back = torch.zeros(len(rows), 4, 1)
    return Batch(torch.tensor(rows), look_back, torch.zeros(len(rows), 2, 1), {"number": values}, len(rows))


def inputs(model: Doubling, budget: int = 10_000) -> Any:
    return FeatureCache(model, num_rows=10, memory=MemoryBudget(budget))


def test_a_row_is_computed_once_and_in_the_order_asked() -> None:
    model = Doubling()
    of = inputs(model)
    assert of(batch([3, 1], [30, 10]))["state"].flatten().tolist() == [60, 20]
    assert of(batch([1, 2, 3], [10, 20, 30]))["state"].flatten().tolist() == [20, 40, 60]
    assert model.asked == [[30], [10], [20]]


def test_equal_rows_share_one_computation_in_a_batch_and_across_batches_of_other_padding() -> None:
    model = Doubling()
    of = inputs(model)
    assert of(batch([0, 1, 2], [7, 8, 7]))["state"].flatten().tolist() == [14, 16, 14]
    assert of(batch([5, 6, 4], [8, 9, 7], width=3))["state"].flatten().tolist() == [16, 18, 14]
    assert model.asked == [[7], [8], [9]]


def test_a_changed_version_forgets_all_and_no_constancy_hands_the_constants_through() -> None:
    model = Doubling()
    feature_cache = inputs(model)
    feature_cache(batch([0], [7]))
    model.version = 1
    feature_cache(batch([0], [7]))
    assert model.asked == [[7], [7]]
    model.constant = False
    assert set(feature_cache(batch([0], [7]))) == {"number"}


def test_rows_beyond_the_budget_are_right_and_computed_again() -> None:
    model = Doubling()
    of = inputs(model, budget=8)
    for _ in range(2):
        assert of(batch([0, 8, 9], [1, 2, 3]))["state"].flatten().tolist() == [2, 4, 6]
    assert model.asked[:3] == [[1], [2], [3]] and sorted(model.asked[3:]) == [[2], [3]]


class Ragged(Doubling):
    """States as wide as the row's number, all ones."""

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        numbers = prompt_inputs["number"][:, :1]
        self.asked.append(numbers[:, 0].tolist())
        return {"state": (torch.arange(int(numbers.max())) < numbers).float()}


def test_new_rows_and_copies_of_kept_ones_may_differ_in_width() -> None:
    model = Ragged()
    of = inputs(model)
    of(batch([0], [2]))
    assert of(batch([1, 2], [2, 5]))["state"].tolist() == [[1, 1, 0, 0, 0], [1] * 5]
    assert of(batch([3, 4], [5, 1]))["state"].tolist() == [[1] * 5, [1, 0, 0, 0, 0]]
    assert model.asked == [[2], [5], [1]]


def test_a_rows_features_are_the_same_to_the_last_digit_whatever_was_asked_before_and_with_it() -> None:
    model = small_balm(freeze_prompt_after=0)
    look_back = walks(12) * torch.logspace(-3, 3, 12)[:, None, None]
    prompts = model.prompt_inputs(look_back)

    def features(*batches: list[int], budget: int) -> dict[int, Tensor]:
        cache, found = FeatureCache(model, num_rows=12, memory=MemoryBudget(budget)), {}
        for rows in batches:
            index = torch.tensor(rows)
            chosen = {name: value[index] for name, value in prompts.items()}
            asked = Batch(index, look_back[index], torch.zeros(len(rows), 2, 1), chosen, len(rows))
            found |= dict(zip(rows, cache(asked)["text_head"], strict=True))
        return found

    expected = features(list(range(12)), budget=10**7)
    for batches in ([[3], [0, 3, 7], [11, 1, 2, 4, 5], [6, 8, 9, 10]], [list(range(11, -1, -1))]):
        for budget in (10**7, 2000):
            found = features(*batches, budget=budget)
            assert all(torch.equal(found[row], expected[row]) for row in range(12))
