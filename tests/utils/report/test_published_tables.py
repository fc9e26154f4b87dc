"""Published figures beside ours."""

from __future__ import annotations

import pytest

from utils.results import collect


def test_published_numbers_stand_beside_ours_with_the_difference_for_the_same_look_back_only(write_run, tmp_path):
    write_run(pred_len=96, mse=0.375)
    write_run(pred_len=96, mse=0.5, seq_len=96)
    results = collect(tmp_path / "results")
    beside = [table for table in results.tables if table.title.startswith("Beside")]
    assert len(beside) == 1 and "look-back 512" in beside[0].title
    assert [cell.text for cell in beside[0].rows[0][1]][:3] == ["0.375", "0.365", "+0.010 (+2.7 %)"]
    assert "Source: BALM-TSF paper, Table 1." in beside[0].notes


@pytest.mark.parametrize(("model", "published"), [("TimeLLM", "0.387"), ("TimeCMA", "0.409")])
def test_a_model_of_table_1_stands_beside_its_published_number_whatever_the_paper_calls_it(
    write_run, tmp_path, model, published
):
    write_run(model=model, pred_len=96, mse=0.5)
    (beside,) = [table for table in collect(tmp_path / "results").tables if table.title.startswith("Beside")]
    assert beside.rows[0][0] == ["ETTh1", "96", model]
    assert [cell.text for cell in beside.rows[0][1]][:2] == ["0.500", published]


def test_numbers_of_another_look_back_have_a_table_of_their_own_that_says_so(write_run, tmp_path):
    for pred_len in (96, 192, 336, 720):
        write_run(model="DLinear", pred_len=pred_len, mse=0.48)
    beside = [table for table in collect(tmp_path / "results").tables if table.title.startswith("Beside")]
    (own,) = [table for table in beside if "the models' own look-backs" in table.title]
    first, *_, last = own.rows
    assert first[0] == ["ETTh1", "96", "DLinear"]
    assert [cell.text for cell in first[1]][:3] == ["0.480", "0.384", "+0.096 (+25.0 %)"]
    assert first[1][4].missing and last[0][1] == "720"
    notes = [note for note in own.notes if "look-back as in the original repository" in note]
    assert notes == ["4 of these figures: look-back as in the original repository of the model."]
    assert all("original repository" not in note for table in beside if table is not own for note in table.notes)


def test_an_average_stands_beside_a_published_one_only_if_it_is_over_the_same_horizons(write_run, tmp_path):
    def cells_beside():
        tables = collect(tmp_path / "results").tables
        return [
            [tuple(heads[:2]) for heads, _ in t.rows] for t in tables if t.title.startswith(("Beside", "Published"))
        ]

    for pred_len in (96, 192, 336):
        write_run(pred_len=pred_len)
    assert all(("ETTh1", "avg") not in cells and ("ETTh1", "336") in cells for cells in cells_beside())
    write_run(pred_len=720)
    assert all(("ETTh1", "avg") in cells for cells in cells_beside())
