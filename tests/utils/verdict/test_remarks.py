"""What stands beside the answer: naive forecasts, the second learning rate, all training rows."""

from __future__ import annotations

import pandas as pd

from tests.utils.verdict.made_runs import made
from utils.verdict.collection import Collected
from utils.verdict.comparisons import comparisons_of, with_longer_blocks
from utils.verdict.pages.remarks import naive_remark, other_model_remarks, second_rate_remarks, whole_remark
from utils.verdict.plan import CELLS, NAIVE, PRETRAINED, SEEDS, core, other_model, second_rate, setting_of, whole


def beside_naive(runs: Collected, share: float) -> Collected:
    """A naive forecast on the rows of the first cell, whose error is this share of the pretrained arm's."""
    mse = share * float(runs.of(CELLS[0], [PRETRAINED])["mse"].mean())
    rows = [
        {"cell": f"{setting_of(CELLS[0])}_rate0.001", "arm": arm, "seed": 2021, "run_id": arm, "mse": mse * (1 + place)}
        for place, arm in enumerate(NAIVE)
    ]
    return Collected(pd.concat([runs.rows, pd.DataFrame(rows)]), runs.errors, runs.curves)


def test_a_naive_forecast_that_is_better_is_named_with_both_errors():
    runs = made({PRETRAINED: 2.0}, cells=1)
    (text,) = naive_remark(beside_naive(runs, 0.9))
    assert text.startswith(f"Repeating the past has the lower test MSE on ETTh1 ({NAIVE[0]} 0.")
    # The other arms have half the error.
    assert "no arm of BALM" not in text
    (text,) = naive_remark(beside_naive(runs, 0.1))
    assert "and no arm of BALM reaches it)." in text
    assert naive_remark(beside_naive(runs, 1.1)) == naive_remark(runs) == []
    lacking = made({PRETRAINED: 2.0}, cells=1, lacking=[(CELLS[0], PRETRAINED, SEEDS[0])])
    assert naive_remark(beside_naive(lacking, 0.1)) == []


def test_the_second_learning_rate_is_told_with_its_validation_errors_and_best_epochs():
    slower = core((second_rate(CELLS[0]),))
    both = made({}, [core(CELLS[:1]), slower], best_epoch=1)
    faster, slow = (float(both.of(cell, [PRETRAINED])["validation_mse"].mean()) for cell in (CELLS[0], slower.cells[0]))
    (text,) = second_rate_remarks(both, comparisons_of(both, slower))
    assert text.startswith("ETTh1 at a tenth of the learning rate, ")
    assert "against none equivalent (" in text and "against random equivalent (" in text
    assert f"pretrained {slow:.3f} instead of {faster:.3f}" in text
    assert text.endswith("The first epoch of pretrained is the best there in 5 of 5 seeds.")
    assert second_rate_remarks(both, []) == []


def test_all_training_rows_are_told_as_far_as_they_have_run():
    runs = made({PRETRAINED: 0.9}, [whole()], lacking=[(whole().cells[0], "numbers", 42)])
    (text,) = whole_remark(comparisons_of(runs, whole()))
    assert text.startswith("With all training rows of ETTh1: against none better (-10.0 %), ")
    assert "numbers" not in text
    nothing = made({}, cells=1)
    assert whole_remark(comparisons_of(nothing, whole())) == []


def test_another_model_is_told_in_the_cells_that_are_tested():
    part = other_model("CALF")
    runs = made({f"CALF {PRETRAINED}": 1.1}, [part])
    (text,) = other_model_remarks(comparisons_of(runs, part), "CALF")
    assert text.startswith("CALF with the pretrained language model, ETTh1 96 to 96, 10 % of the rows: ")
    assert "against random (2021) worse (+" in text and ", against none worse (+" in text
    assert other_model_remarks(comparisons_of(made({}, cells=1), part), "CALF") == []


def test_both_references_of_a_hypothesis_are_corrected_together():
    runs = made({PRETRAINED: 1.004}, spread=0.003)
    found = {(each.reference, each.cell): each for each in comparisons_of(runs, core()) if each.arm == PRETRAINED}
    # Four cells of one reference, but eight tests of hypothesis 4.
    for references, number in ((("none",), 4), (("numbers", "words"), 8)):
        first = min((each for key, each in found.items() if key[0] in references), key=lambda each: each.corrected_p)
        assert first.found is not None
        assert first.corrected_p == number * first.found.p_difference < 1


def test_longer_blocks_leave_out_cells_that_have_too_few_of_them():
    runs = made({PRETRAINED: 0.9}, cells=4)
    again = with_longer_blocks(runs, core(), comparisons_of(runs, core()))
    # 1,400 windows are seven blocks of two horizons, and three of four.
    assert again == []
