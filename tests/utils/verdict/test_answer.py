"""The sentences at the top say what the verdicts say, and no more."""

from __future__ import annotations

import re

import pytest

from tests.utils.verdict.made_runs import made
from utils.verdict.collection import Collected
from utils.verdict.comparisons import comparisons_of
from utils.verdict.pages.answer import answer, certainty
from utils.verdict.plan import CELLS, PRETRAINED, SEEDS, core

NO_ANSWER = "no cell is complete yet, so there is no answer."


def sentences(collected: Collected) -> tuple[list[str], list[str]]:
    found = comparisons_of(collected, core())
    return answer(found), certainty(found)


def test_a_text_that_helps_everywhere_helps_wherever_there_are_windows_enough():
    (text, pretraining, language), remarks = sentences(made({PRETRAINED: 0.9}))
    assert text.startswith("The text helps in 3 of 4 cells: against BALM without text, ")
    assert "is better in 3, undecided in 1 of 4 cells (test MSE: ETTh1 -10." in text
    assert pretraining.startswith("Pretraining helps in 3 of 4 cells: ")
    assert language.startswith("Language adds to the nine numbers in 3 of 4 cells: ")
    assert remarks == ["To decide ILI it would take, against none and random and numbers more test windows."]


def test_a_text_that_harms_is_said_to_harm_and_not_to_help():
    (text, pretraining, _), _ = sentences(made({PRETRAINED: 1.1, "random (2021)": 1.1, "random (1)": 1.1}))
    assert text.startswith(
        "It is not shown anywhere that the text helps, and the text makes it worse in 3 of 4 cells: "
    )
    assert "differs by less than 1 % in 3 of 4 cells: " in pretraining


def test_equal_arms_are_equivalent_and_nothing_is_said_to_help():
    texts, _ = sentences(made({}))
    for text in texts:
        assert text.startswith("It is not shown anywhere that ")
        assert "; the error differs by less than 1 % in 3 of 4 cells: " in text
        assert "equivalent in 3, undecided in 1 of 4 cells" in text


def test_arms_whose_seeds_scatter_widely_are_undecided_and_it_is_said_how_many_seeds_they_need():
    texts, remarks = sentences(made({}, cells=1, spread=0.2))
    assert all(text.startswith("It is undecided whether ") for text in texts)
    assert "undecided in 1 of 1 complete cell" in texts[0]
    (seeds,) = [remark for remark in remarks if remark.startswith("To decide ETTh1")]
    numbers = [int(number) for number in re.findall(r"(?:about|more than) (\d+) seeds", seeds)]
    assert numbers and min(numbers) > len(SEEDS)


def test_cells_that_disagree_are_both_named():
    effects = {f"{CELLS[0]}/{PRETRAINED}": 0.9, f"{CELLS[2]}/{PRETRAINED}": 1.1}
    (text, *_), _ = sentences(made(effects))
    assert text.startswith("The text helps in 1 of 4 cells, but the text makes it worse in 1: ")
    assert "better in 1, worse in 1, equivalent in 1, undecided in 1 of 4 cells" in text


@pytest.mark.parametrize("arm", [PRETRAINED, "none"])
def test_a_comparison_that_lacks_a_seed_is_not_judged(arm):
    (text, *_), remarks = sentences(made({PRETRAINED: 0.5}, cells=1, lacking=[(CELLS[0], arm, SEEDS[1])]))
    assert text.lower().endswith(NO_ANSWER)
    assert remarks[0].startswith("This is no final answer: of the plan's 4 cells, ETTh1, ILI, ETTh2, Exchange lack")


def test_reference_arms_that_lack_runs_leave_the_other_sentences():
    texts, _ = sentences(made({PRETRAINED: 0.9}, cells=1, lacking=[(CELLS[0], "random (1)", SEEDS[0])]))
    assert texts[0].startswith("The text helps in 1 of 1 complete cell: ")
    assert texts[1] == f"Against the same language model with random weights, {NO_ANSWER}"


def test_without_runs_there_is_one_sentence():
    assert sentences(made({}, cells=1, lacking=[(CELLS[0], PRETRAINED, seed) for seed in SEEDS]))[0] == [
        "No cell is complete yet, so there is no answer."
    ]
