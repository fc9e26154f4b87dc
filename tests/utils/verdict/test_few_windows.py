"""The remark on single windows, and what a picture leaves to a name in its corner."""

from __future__ import annotations

import numpy as np

from tests.utils.verdict.made_runs import made
from utils.verdict.collection import Collected
from utils.verdict.pages.few_windows import few_windows
from utils.verdict.pages.page import files
from utils.verdict.plan import CELLS, SEEDS, core

CELL = CELLS[0]


def with_explosions(*arms: str) -> Collected:
    """Made runs, one window in a hundred of these arms with a thousand times its error."""
    collected = made({}, cells=1)
    for arm in arms:
        for seed in SEEDS:
            collected.errors_of(CELL, arm, seed)[::100] *= 1000
    return collected


def test_an_arm_whose_error_is_that_of_a_few_windows_is_named_with_their_share():
    collected = with_explosions("words", "random (1)")
    remark = few_windows(collected, core(), CELL)
    assert remark is not None
    errors = np.sort(collected.errors_of(CELL, "words", SEEDS[0]))
    share = errors[-round(0.05 * len(errors)) :].sum() / errors.sum()
    part = f"{100 * share:.0f} % of the squared error of "
    assert f"{part}words and {part}random (1), but " in remark
    assert "% of that of none (" in remark


def test_ordinary_errors_and_incomplete_arms_get_no_remark():
    assert few_windows(made({}, cells=1), core(), CELL) is None
    lacking = made({}, cells=1, lacking=[(CELL, "words", SEEDS[0])])
    for seed in SEEDS[1:]:
        lacking.errors_of(CELL, "words", seed)[::100] *= 1000
    assert few_windows(lacking, core(), CELL) is None


def test_a_far_arm_is_named_in_the_corner_instead_of_hiding_the_others(tmp_path):
    drawn = files(made({"words": 3.0, "mlp": 1.2}, cells=1), tmp_path)["cost.svg"].decode()
    (named,) = [line for line in drawn.splitlines() if "not shown: " in line]
    mean = made({"words": 3.0, "mlp": 1.2}, cells=1).of(CELL, ["words"])["mse"].mean()
    assert f"not shown: words {mean:.2f}<" in named
