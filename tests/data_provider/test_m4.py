"""The competition's files and the windows that are cut from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data_provider.batches.loader import Loader
from data_provider.m4 import FREQUENCIES, Frequency, M4Data, check_frequencies, load_m4

HORIZON = 4


def write(root: Path, name: str, *, train: list[str], test: list[str]) -> None:
    (root / "m4").mkdir(exist_ok=True)
    for part, rows in (("train", train), ("test", test)):
        header = ",".join(f'"V{number + 1}"' for number in range(8))
        (root / "m4" / f"{name}-{part}.csv").write_text("\n".join([header, *rows, ""]))


def yearly(number: int) -> str:
    values = ",".join(f'"{100 * number + step}"' for step in range(9))
    return f'"Y{number}",{values},,'


def horizon_of(number: int) -> str:
    return f'"Y{number}",' + ",".join(f'"{100 * number + step}"' for step in range(9, 15))


@pytest.fixture
def data() -> M4Data:
    """Series of lengths 30, 9 and 8 whose values are their series and step: 1000 x (series + 1) + step."""
    lengths = (30, 9, 8)
    whole = [1000.0 * (number + 1) + np.arange(length + HORIZON) for number, length in enumerate(lengths)]
    return M4Data.of(
        "Weekly",
        Frequency(horizon=HORIZON, season_length=1, time_step="W", reach=2.5),
        ids=["W1", "W2", "W3"],
        train=[series[:-HORIZON] for series in whole],
        test=np.stack([series[-HORIZON:] for series in whole]),
        fingerprint="",
    )


def original(values: torch.Tensor, data: M4Data, series: list[int]) -> np.ndarray:
    return values[..., 0].double().numpy() * data.scales[series][:, None]


def test_the_empty_cells_that_fill_up_a_row_are_left_out(tmp_path):
    write(tmp_path, "Yearly", train=[yearly(1), yearly(2)], test=[horizon_of(1), horizon_of(2)])
    data = load_m4(tmp_path, "Yearly")
    assert data.ids == ["Y1", "Y2"]
    np.testing.assert_array_equal(data.train[1], 200.0 + np.arange(9))
    np.testing.assert_array_equal(data.test[0], 100.0 + np.arange(9, 15))


def test_all_missing_files_are_named_at_once_with_the_choice_that_is_left(tmp_path):
    write(tmp_path, "Yearly", train=[yearly(1)], test=[horizon_of(1)])
    check_frequencies(tmp_path, ["Yearly"])
    with pytest.raises(FileNotFoundError) as caught:
        check_frequencies(tmp_path, ["Yearly", "Daily", "Hourly"])
    message = str(caught.value)
    assert "lacks Daily-train.csv, Daily-test.csv, Hourly-train.csv, Hourly-test.csv" in message
    assert "--m4_frequencies Yearly" in message
    assert "\n" not in message


def test_a_frequency_that_m4_has_not_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"--m4_frequencies must be among Yearly, .*, got Secondly"):
        check_frequencies(tmp_path, ["Secondly"])
    with pytest.raises(ValueError, match=r"--m4_frequencies must be among Yearly, .*, got none"):
        check_frequencies(tmp_path, [])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([yearly(1), yearly(2)], [horizon_of(1)], r"must hold the same series: they differ in \['Y2'\]"),
        ([yearly(1)], ['"Y1","1","2"'], "Yearly-test.csv: series Y1 must have 6 values, found 2"),
        (['"Y1","1","2"'], [horizon_of(1)], "Yearly-train.csv: series Y1 must have at least 7 values, found 2"),
        ([yearly(1).replace("104", "many")], [horizon_of(1)], "series Y1 has 'many' where a number is expected"),
        ([yearly(1).replace('"104"', "")], [horizon_of(1)], "series Y1 has '' where a number is expected"),
        ([yearly(1).replace("104", "inf")], [horizon_of(1)], "series Y1 has a value that is not a finite number"),
        ([], [], "Yearly-train.csv holds no series"),
    ],
    ids=["other series", "short test", "short training", "text", "gap", "infinite", "empty"],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, train, test, message):
    write(tmp_path, "Yearly", train=train, test=test)
    with pytest.raises(ValueError, match=message):
        load_m4(tmp_path, "Yearly")


def test_the_horizons_and_seasons_are_those_of_the_competition():
    fixed = {name: (f.horizon, f.season_length) for name, f in FREQUENCIES.items()}
    assert fixed == {
        "Yearly": (6, 1),
        "Quarterly": (8, 4),
        "Monthly": (18, 12),
        "Weekly": (13, 1),
        "Daily": (14, 1),
        "Hourly": (48, 24),
    }


def test_the_real_files_have_the_competitions_numbers_of_series(shared):
    assert len(load_m4(shared / "dataset", "Weekly").ids) == 359
    hourly = load_m4(shared / "dataset", "Hourly")
    assert len(hourly.ids) == 414
    assert {len(series) for series in hourly.train} == {700, 960}


def test_a_test_row_is_the_test_series_behind_the_end_of_the_training_series(data):
    batch = data.windows("test")[[0, 1, 2]]
    np.testing.assert_allclose(original(batch.target, data, [0, 1, 2]), data.test, rtol=1e-6)
    np.testing.assert_allclose(original(batch.look_back, data, [0, 1, 2])[0], data.train[0][-8:], rtol=1e-6)


def test_a_validation_row_is_the_last_horizon_of_the_training_series(data):
    batch = data.windows("validation")[torch.tensor([2, 0])]
    expected = np.stack([data.train[2][-HORIZON:], data.train[0][-HORIZON:]])
    np.testing.assert_allclose(original(batch.target, data, [2, 0]), expected, rtol=1e-6)
    np.testing.assert_allclose(original(batch.look_back, data, [2, 0])[1], data.train[0][-12:-4], rtol=1e-6)


def test_a_look_back_longer_than_the_series_is_filled_up_with_its_first_value(data):
    batch = data.windows("validation")[[1]]
    expected = np.concatenate([[2000.0] * 3, 2000.0 + np.arange(5)])
    np.testing.assert_allclose(original(batch.look_back, data, [1])[0], expected, rtol=1e-6)


def test_training_rows_are_the_windows_within_reach_that_end_before_the_validation_target(data):
    windows = data.windows("train")
    # Series 0 has 26 steps before validation: targets begin at 13 ... 22 (2.5 horizons); series 1 has 5: at 1 only;
    # series 2 has 4: no step would be left to look back on.
    assert windows.num_starts.tolist() == [10, 1, 0]
    assert len(windows) == 11
    batch = windows[list(range(11))]
    first_steps = original(batch.target, data, [0] * 10 + [1])[:, 0]
    np.testing.assert_allclose(first_steps, [*(1000.0 + np.arange(13, 23)), 2001.0], rtol=1e-6)
    last_steps = original(batch.target, data, [0] * 10 + [1])[:, -1]
    assert last_steps.max() <= 2000 + 4


def test_the_copy_on_the_cpu_gives_the_same_look_back(data):
    windows = data.windows("train")
    rows = torch.tensor([3, 10, 0])
    assert torch.equal(windows.look_back_on_cpu(rows), windows[rows].look_back)


def test_scaled_units_know_nothing_of_the_validation_and_test_values(data):
    scales = data.scales
    data.train[0][-HORIZON:] = 1e9
    data.test[:] = 1e9
    np.testing.assert_array_equal(data.scales, scales)


def test_an_epoch_visits_every_usable_series_once_at_windows_that_change(data):
    windows = data.windows("train")
    assert windows.num_training_rows == 2
    visits = [sorted(windows.training_rows(seed=3, epoch=epoch).tolist()) for epoch in range(6)]
    for epoch in visits:
        assert len(epoch) == 2
        assert epoch[0] < 10 and epoch[1] == 10
    assert len({epoch[0] for epoch in visits}) > 2
    assert sorted(windows.training_rows(seed=3, epoch=4).tolist()) == visits[4]


def test_two_processes_share_an_epoch(data):
    windows = data.windows("train")
    alone = [batch.rows.tolist() for batch in Loader(windows, batch_size=2, shuffle=True)]
    shared_out = [
        [batch.rows.tolist() for batch in Loader(windows, batch_size=1, shuffle=True, rank=rank, num_processes=2)]
        for rank in range(2)
    ]
    assert [first + second for first, second in zip(*shared_out, strict=True)] == alone


def test_series_without_any_training_window_are_an_error(data):
    short = M4Data.of("Weekly", data.frequency, ids=["W3"], train=data.train[2:], test=data.test[2:], fingerprint="")
    with pytest.raises(ValueError, match="no series of M4-Weekly is long enough"):
        short.windows("train")
