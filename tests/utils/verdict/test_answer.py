"""The sentences at the top say what the verdicts say, and no more."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.utils.verdict.made_runs import made
from utils.verdict.collection import Collected
from utils.verdict.comparisons import comparisons_of
from utils.verdict.pages.answer import NO_CELL, answer, certainty, in_short
from utils.verdict.pages.hypotheses import hypotheses_table
from utils.verdict.plan import CELLS, PRETRAINED, SEEDS, core


def sentences(collected: Collected) -> tuple[list[str], list[str]]:
    found = comparisons_of(collected, core())
    return answer(found), certainty(found)


def test_a_text_that_helps_everywhere_helps_wherever_there_are_windows_enough():
    (text, pretraining, language), remarks = sentences(made({PRETRAINED: 0.9}))
    assert text.startswith("The text helps in 3 of 3 tested cells: against BALM without text, ")
    assert "is better on ETTh1 (-10." in text and "undecided" not in text and "ILI" not in text
    assert pretraining.startswith("Pretraining helps in 3 of 3 tested cells: ")
    assert language.startswith("The text helps more than the nine numbers in 3 of 3 tested cells: ")
    assert remarks == ["ILI decides nothing: its test split has fewer than 6 disjoint blocks of two horizons."]


def test_the_short_answer_is_what_the_sentences_conclude():
    found = comparisons_of(made({PRETRAINED: 0.9}), core())
    assert in_short(found) == (
        "the text helps in 3 of 3 tested cells; pretraining helps in 3 of 3 tested cells; "
        "the text helps more than the nine numbers in 3 of 3 tested cells."
    )


def test_the_short_answer_without_a_complete_cell_is_none():
    assert in_short([]) == NO_CELL


def test_a_text_that_harms_is_said_to_harm_and_not_to_help():
    (text, pretraining, _), _ = sentences(made({PRETRAINED: 1.1, "random (2021)": 1.1, "random (1)": 1.1}))
    assert text.startswith(
        "It is not shown anywhere that the text helps, and the text raises the error in 3 of 3 tested cells: "
    )
    assert "differs by less than 1 % in 3 of 3 tested cells: " in pretraining


def test_equal_arms_are_equivalent_and_nothing_is_said_to_help():
    texts, _ = sentences(made({}))
    for text in texts:
        assert text.startswith("It is not shown anywhere that ")
        assert "; the error differs by less than 1 % in 3 of 3 tested cells: " in text
        assert "is equivalent on ETTh1 (" in text


def test_arms_whose_seeds_scatter_widely_are_undecided_and_it_is_said_how_many_seeds_they_need():
    texts, remarks = sentences(made({}, cells=1, spread=0.2))
    assert all(text.startswith("It is undecided whether ") for text in texts)
    assert "is undecided on ETTh1 (" in texts[0]
    (seeds,) = [remark for remark in remarks if remark.startswith("Undecided on ETTh1: against ")]
    numbers = [int(number) for number in re.findall(r"(?:about|more than) (\d+) seeds", seeds)]
    assert numbers and min(numbers) > len(SEEDS)


def test_a_cell_that_only_more_windows_could_decide_is_said_to_be_one():
    """Windows that favour one arm now and the other then, alike in all seeds."""
    runs = made({}, cells=1, spread=0.0)
    favour = np.repeat(np.random.default_rng(0).normal(0, 0.1, 7), 200)
    for seed in SEEDS:
        runs.errors_of(CELLS[0], PRETRAINED, seed)[:] += favour
    _, remarks = sentences(runs)
    assert remarks[1].startswith("Undecided on ETTh1: against none and random and numbers, if difference ")


def test_cells_that_disagree_are_all_named_with_their_verdicts():
    effects = {f"{CELLS[0]}/{PRETRAINED}": 0.9, f"{CELLS[2]}/{PRETRAINED}": 1.1}
    (text, *_), _ = sentences(made(effects))
    assert text.startswith("The text helps in 1 of 3 tested cells, but the text raises the error in 1: ")
    assert re.search(r"better on ETTh1 \(-.* %\); worse on ETTh2 \(\+.* %\); equivalent on Exchange \(", text)


@pytest.mark.parametrize("arm", [PRETRAINED, "none"])
def test_a_comparison_that_lacks_a_seed_is_not_judged(arm):
    (text, *_), remarks = sentences(made({PRETRAINED: 0.5}, cells=1, lacking=[(CELLS[0], arm, SEEDS[1])]))
    assert text.lower().endswith(NO_CELL)
    assert remarks[0].startswith("This is no final answer: of the plan's 4 cells, ETTh1, ILI, ETTh2, Exchange lack")


def test_reference_arms_that_lack_runs_leave_the_other_sentences():
    texts, _ = sentences(made({PRETRAINED: 0.9}, cells=1, lacking=[(CELLS[0], "random (1)", SEEDS[0])]))
    assert texts[0].startswith("The text helps in 1 of 1 tested cell: ")
    assert texts[1] == f"Against the same language model with random weights (mean of two fixed draws), {NO_CELL}"


def test_without_runs_there_is_one_sentence():
    assert sentences(made({}, cells=1, lacking=[(CELLS[0], PRETRAINED, seed) for seed in SEEDS]))[0] == [
        NO_CELL[0].upper() + NO_CELL[1:]
    ]


def test_a_hypothesis_with_two_references_holds_only_where_both_are_worse():
    table = hypotheses_table(comparisons_of(made({PRETRAINED: 0.9, "words": 0.8}), core()))
    by_name = {row[0][0]: row[2:] for row in table.rows}
    assert by_name["3"] == ["holds", "too few test windows", "holds", "holds"]
    assert by_name["4"] == ["no: worse than words", "too few test windows", *["no: worse than words"] * 2]
    half = hypotheses_table(comparisons_of(made({PRETRAINED: 0.9, "words": 0.9}, cells=1), core()))
    assert [row[2:] for row in half.rows][3] == ["undecided", *["not run"] * 3]
    assert hypotheses_table(comparisons_of(made({}, cells=1), core())).rows[0][2] == "no: equivalent"
