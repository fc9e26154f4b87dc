"""The page follows from the committed runs and says no more than they do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.exp.small_runs import TINY_LLM, table, train
from utils.verdict.__main__ import main
from utils.verdict.collection import Collected, collect, read
from utils.verdict.comparisons import ARMS, CELLS, complete_cells
from utils.verdict.page import build


def collected(effects: dict[str, float], cells: int = 1, seeds: int = 5) -> Collected:
    """Made runs: the error of each arm is that of the same windows times its effect."""
    windows = np.random.default_rng(0).gamma(2.0, 0.2, 1400)
    rows, errors = [], {}
    for cell in CELLS[:cells]:
        for arm in ARMS:
            for seed in range(seeds):
                noise = 1 + 0.001 * np.random.default_rng([seed, len(rows)]).standard_normal()
                run_id = f"{cell}/{arm}/{seed}"
                errors[run_id] = (windows * effects.get(arm, 1.0) * noise).astype(np.float32)
                mse = float(errors[run_id].mean())
                row = {"cell": cell, "arm": arm, "seed": seed, "run_id": run_id, "mse": mse, "mae": mse}
                rows.append(
                    {**row, "best_epoch": 3, "seconds_total": 60.0, "seconds_test": 50.0 if seed == 0 else 10.0}
                )
    return Collected(pd.DataFrame(rows), errors)


def test_a_better_arm_is_called_better_and_the_number_of_cells_is_said(tmp_path):
    page = build(collected({"pretrained": 0.9}), tmp_path)
    assert "against BALM without text: better in 1 of 1 cells." in page
    assert "Only 1 of the plan's 4 core cells have been run, so this is no final answer." in page


def test_equal_arms_are_called_equivalent_in_all_cells(tmp_path):
    page = build(collected({}, cells=4), tmp_path)
    assert page.count("equivalent in 4 of 4 cells.") == 3
    assert "no final answer" not in page


def test_a_cell_with_a_missing_seed_or_arm_is_not_judged(tmp_path):
    assert complete_cells(collected({}, seeds=4)) == []
    assert "No cell is complete yet" in build(collected({}, seeds=4), tmp_path)


def test_the_committed_page_follows_from_the_committed_runs():
    assert main(["--check"]) == 0


def test_finished_runs_are_collected_once_with_the_errors_of_every_window(tmp_path):
    table(200).to_csv(tmp_path / "my.csv", index=False)
    results, place = tmp_path / "results", tmp_path / "verdict"
    flags = [*TINY_LLM, "--patch_len", "4", "--stride", "2", "--d_model", "4", "--d_ff", "8", "--no_learnable_prompt"]
    train(tmp_path / "my.csv", results, *flags, "--text_branch", "numbers", model="BALM")
    place.mkdir()
    assert collect([results], place) == 1
    assert collect([results], place) == 0
    found = read(place)
    (row,) = found.rows.to_dict("records")
    assert (row["arm"], row["seed"]) == ("numbers", 2021)
    assert found.errors[row["run_id"]].mean() == pytest.approx(row["mse"], rel=1e-5)
    assert "--output_dir" not in row["flags"] and "--text_branch" in row["flags"]


def test_the_page_says_what_the_store_of_text_states_saves(tmp_path):
    page = build(collected({}), tmp_path)
    assert page.count("| 50 | 10 | 5.0x | 5 |") == 3
    assert "store of text states saves" not in build(collected({}, seeds=1), tmp_path)
