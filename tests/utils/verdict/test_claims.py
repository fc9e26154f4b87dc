"""What our numbers say of published claims is computed, and never more than they say."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.utils.verdict.made_runs import made
from utils.verdict.collection import PLACE, Collected
from utils.verdict.pages.claims import JUDGES, claims_table
from utils.verdict.plan import CELLS, NAIVE, PRETRAINED, RANDOM, SEEDS, SIMPLE, later_parts, setting_of

GPT4TS = next(part for part in later_parts() if part.title.endswith("GPT4TS"))


def test_without_runs_every_claim_is_open():
    table = claims_table(Collected(pd.DataFrame(columns=["cell", "arm", "seed", "run_id"]), {}), PLACE)
    assert table is not None
    assert {tuple(row[-2:]) for row in table.rows} == {("not run", "open")}


def test_the_file_holds_no_number_and_no_verdict_of_ours():
    claims = pd.read_csv(PLACE / "claims.csv")
    assert list(claims.columns) == ["id", "source", "claim", "published", "note"]
    assert set(JUDGES) < set(claims["id"])


def test_random_weights_that_are_worse_are_counted_by_mean_and_by_test():
    found = JUDGES["random_worse"](made(dict.fromkeys(RANDOM, 1.1)))
    # ILI has too few windows for a test.
    assert found == (
        "higher in 6 of 6 cells and draws, 6 by test; 2 more with too few test windows",
        "shown in 6 of 6",
    )


def test_random_weights_that_are_better_contradict_the_claim():
    found = JUDGES["random_worse"](made(dict.fromkeys(RANDOM, 0.9), cells=1))
    assert found == ("higher in 0 of 2 cells and draws, 0 by test", "the opposite in 2 of 2")


def test_equal_arms_do_not_show_a_claim_and_scattered_ones_leave_it_open():
    assert JUDGES["random_worse"](made({}, cells=1))[1] == "equivalent in 2 of 2"
    assert JUDGES["random_worse"](made({}, cells=1, spread=0.2))[1] == "open"


@pytest.mark.parametrize(
    ("effect", "verdict"), [(1.1, "shown in 1 of 1"), (1.0, "equivalent in 1 of 1"), (0.9, "the opposite in 1 of 1")]
)
def test_another_model_with_and_without_its_language_model(effect, verdict):
    # Its second cell is ILI.
    assert JUDGES["gpt4ts_ablations"](made({f"GPT4TS {PRETRAINED}": effect}, [GPT4TS]))[1] == verdict


def test_cells_that_disagree_are_all_counted():
    found = JUDGES["random_worse"](made({f"{CELLS[0]}/{RANDOM[0]}": 1.1, f"{CELLS[2]}/{RANDOM[0]}": 0.9}))
    assert found[1] == "shown in 1, the opposite in 1, equivalent in 4 of 6"


def test_the_gain_is_over_the_best_simple_model_once_all_of_them_have_run():
    runs = made({}, cells=1)
    level = float(runs.of(CELLS[0], [PRETRAINED])["mse"].mean())

    def beside(num_seeds: int) -> Collected:
        """Simple models, the last of which has so many seeds."""
        seeds = {model: SEEDS[: 1 if model in NAIVE else num_seeds if model == SIMPLE[-1] else 5] for model in SIMPLE}
        cell = f"{setting_of(CELLS[0])}_rate0.005"
        rows = [
            {"cell": cell, "arm": arm, "seed": seed, "run_id": f"{arm}{seed}", "mse": (2 + place) * level}
            for place, arm in enumerate(SIMPLE)
            for seed in seeds[arm]
        ]
        return Collected(pd.concat([runs.rows, pd.DataFrame(rows)]), runs.errors)

    ours, verdict = JUDGES["balm_gain"](beside(5))
    assert ours.startswith("MSE 50.0 % below the best simple model, mean of 1 of 4 cells") and verdict.startswith(
        "open"
    )
    assert JUDGES["balm_gain"](beside(4)) == JUDGES["balm_gain"](runs) == ("not run", "open")
