"""Borders, few-shot cuts and window counts, by the numbers of the protocol."""

import dataclasses

import pandas as pd
import pytest

from data_provider.datasets import DATASETS
from data_provider.series import benchmark_borders
from data_provider.splits import Borders, borders_by_fraction, num_windows, parse_split, rows_of_split

ETTH = Borders(8640, 11520, 14400)
HOURS = pd.date_range("2024-01-01", periods=100, freq="h")


def windows_of(borders: Borders, split, *, seq_len: int = 512, pred_len: int = 96, percent: int = 100) -> int:
    rows = rows_of_split(borders, split, seq_len=seq_len, pred_len=pred_len, percent=percent)
    return num_windows(rows, seq_len=seq_len, pred_len=pred_len)


def test_etth1_has_the_window_counts_of_the_field():
    assert DATASETS["ETTh1"].borders == (8640, 11520, 14400)
    assert windows_of(ETTH, "train") == 8033
    assert windows_of(ETTH, "validation") == 2785
    assert windows_of(ETTH, "test") == 2785


def test_ettm1_has_11425_test_windows():
    assert DATASETS["ETTm1"].borders == (34_560, 46_080, 57_600)
    assert windows_of(Borders(34_560, 46_080, 57_600), "test") == 11_425


@pytest.mark.parametrize("seq_len", [1, 96, 336, 512])
def test_evaluation_windows_do_not_depend_on_the_look_back(seq_len: int):
    assert windows_of(ETTH, "test", seq_len=seq_len) == 2785
    assert rows_of_split(ETTH, "test", seq_len=seq_len, pred_len=96) == range(11520 - seq_len, 14400)


def test_fractions_round_as_the_field_does():
    assert borders_by_fraction(52_696) == Borders(36_887, 52_696 - 10_539, 52_696)
    assert borders_by_fraction(966) == Borders(676, 966 - 193, 966)


@pytest.mark.parametrize(("percent", "stop"), [(100, 8640), (10, 8128 * 10 // 100 + 512), (5, 8128 * 5 // 100 + 512)])
def test_few_shot_keeps_the_oldest_training_rows(percent: int, stop: int):
    assert rows_of_split(ETTH, "train", seq_len=512, pred_len=96, percent=percent) == range(0, stop)


def test_few_shot_leaves_evaluation_alone():
    assert windows_of(ETTH, "validation", percent=5) == windows_of(ETTH, "validation")


def test_five_percent_of_etth1_has_no_window_at_horizon_720():
    with pytest.raises(ValueError, match=r"train split \(5 percent.*918 rows.*--pred_len 720 = 1232.*raise --percent"):
        windows_of(ETTH, "train", pred_len=720, percent=5)


def test_a_look_back_longer_than_what_is_before_the_border_is_refused():
    with pytest.raises(ValueError, match="lower --seq_len to 70 or less"):
        windows_of(Borders(70, 80, 100), "validation", seq_len=71, pred_len=1)


def test_a_horizon_longer_than_a_split_is_refused_by_name():
    with pytest.raises(ValueError, match=r"validation split has 18 rows .* lower one of them by 1"):
        windows_of(Borders(70, 80, 100), "validation", seq_len=8, pred_len=11)


def test_a_split_by_date_begins_at_the_first_row_of_that_date():
    assert parse_split("2024-01-03, 2024-01-04 12:30", HOURS) == Borders(48, 85, 100)


def test_a_split_by_fractions_gives_the_rest_to_validation():
    assert parse_split("0.5,0.25,0.25", HOURS) == Borders(50, 75, 100)
    assert parse_split(None, HOURS) == Borders(70, 80, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,0.5", "two dates"),
        ("0.7,0.1", "does not consist of dates|two dates in order"),
        ("0.7,0.2,0.2", "add up to 1"),
        ("0.7,0.3,0", "must be positive"),
        ("a,b,c", "does not consist of numbers"),
        ("0.7", "has 1 parts"),
        ("2024-01-04,2024-01-03", "in order within"),
        ("2023-01-04,2024-01-03", "in order within"),
    ],
)
def test_a_wrong_split_is_refused_with_an_example(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        parse_split(text, HOURS)


def test_a_registry_entry_may_give_its_split_as_fractions():
    entry = dataclasses.replace(DATASETS["Weather"], fractions=(0.6, 0.2))
    assert benchmark_borders(entry, 100) == Borders(60, 80, 100)
    assert benchmark_borders(DATASETS["Weather"], 100) == Borders(70, 80, 100)
    assert benchmark_borders(DATASETS["ETTh1"], 17_420) == Borders(8640, 11520, 14400)
