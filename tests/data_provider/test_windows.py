"""Windows: the right cells, whole or by channel, without a look at what comes later."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from data_provider.series import Series
from data_provider.splits import Split
from data_provider.windows import Windows
from tests.data_provider.conftest import config_of


def windows_of(
    series: Series, config: DataConfig, split: Split = "train", *, channel_independent: bool, **changes
) -> Windows:
    return series.windows(split, config=config, channel_independent=channel_independent, **changes)


def scaled(series: Series) -> np.ndarray:
    return series.scaler.transform(series.values).astype(np.float32)


@pytest.mark.parametrize(("split", "start", "count"), [("train", 0, 73), ("validation", 76, 9), ("test", 88, 21)])
def test_whole_windows_are_the_scaled_rows_of_their_split(series: Series, config: DataConfig, split, start, count):
    windows = windows_of(series, config, split, channel_independent=False)
    assert len(windows) == windows.num_windows == count
    batch = windows[[0, count - 1]]
    for look_back, target, first in zip(batch.look_back, batch.target, (start, start + count - 1), strict=True):
        np.testing.assert_array_equal(look_back, scaled(series)[first : first + 8])
        np.testing.assert_array_equal(target, scaled(series)[first + 8 : first + 12])


def test_rows_of_single_channels_are_numbered_with_the_channel_fastest(series: Series, config: DataConfig):
    windows = windows_of(series, config, channel_independent=True)
    whole = windows_of(series, config, channel_independent=False)
    assert len(windows) == 73 * 3
    rows = torch.tensor([0, 1, 2, 3, 72 * 3 + 2])
    window, channel = windows.window_and_channel(rows)
    assert window.tolist() == [0, 0, 0, 1, 72]
    assert channel.tolist() == [0, 1, 2, 0, 2]
    batch = windows[rows]
    assert batch.look_back.shape == (5, 8, 1)
    for index in range(5):
        same = whole[window[index : index + 1]]
        assert torch.equal(batch.look_back[index, :, 0], same.look_back[0, :, channel[index]])
        assert torch.equal(batch.target[index, :, 0], same.target[0, :, channel[index]])


@pytest.mark.parametrize("channel_independent", [True, False])
def test_a_row_is_the_same_alone_and_in_any_batch(series: Series, config: DataConfig, channel_independent: bool):
    windows = windows_of(series, config, channel_independent=channel_independent, needs_time_features=True)
    together = windows[[5, 2, 61]]
    for position, row in enumerate([5, 2, 61]):
        alone = windows[[row]]
        assert torch.equal(alone.look_back[0], together.look_back[position])
        assert torch.equal(alone.target[0], together.target[position])
        assert torch.equal(alone.inputs["time_features"][0], together.inputs["time_features"][position])


def test_no_window_of_a_split_reads_a_row_of_a_later_one(csv: Path, table, config: DataConfig, series: Series):
    table.iloc[96:, 1:] = 1e9
    table.to_csv(csv, index=False)
    changed = load_series(config)
    for split in ("train", "validation"):
        before = windows_of(series, config, split, channel_independent=False)
        after = windows_of(changed, config, split, channel_independent=False)
        everything = list(range(len(before)))
        assert torch.equal(before[everything].look_back, after[everything].look_back)
        assert torch.equal(before[everything].target, after[everything].target)


def test_targets_of_the_splits_do_not_overlap_and_leave_no_row_out(series: Series, config: DataConfig):
    dates = {}
    for split in ("validation", "test"):
        windows = windows_of(series, config, split, channel_independent=False)
        dates[split] = {date for window in range(len(windows)) for date in windows.target_dates(window)}
    assert not dates["validation"] & dates["test"]
    assert dates["validation"] | dates["test"] == set(series.dates[84:])


def test_the_copy_for_constants_holds_the_look_back_bit_for_bit(series: Series, config: DataConfig):
    rows = torch.tensor([7, 0, 100])
    windows = windows_of(series, config, channel_independent=True)
    assert torch.equal(windows.look_back_on_cpu(rows), windows[rows].look_back)


def test_ms_keeps_the_target_channel_of_whole_windows(csv: Path):
    config = config_of(csv, features="MS", target="b")
    series = load_series(config)
    windows = windows_of(series, config, "test", channel_independent=False)
    batch = windows[[3]]
    assert batch.look_back.shape == (1, 8, 3)
    np.testing.assert_array_equal(batch.target[0, :, 0], scaled(series)[88 + 3 + 8 : 88 + 3 + 12, 1])
    forecast = torch.arange(12.0).reshape(1, 4, 3)
    assert windows.keep_targets(forecast).flatten().tolist() == [1, 4, 7, 10]


def test_ms_trains_single_channels_on_all_and_evaluates_the_target_only(csv: Path):
    config = config_of(csv, features="MS", target="b")
    series = load_series(config)
    assert len(windows_of(series, config, "train", channel_independent=True)) == 73 * 3
    windows = windows_of(series, config, "test", channel_independent=True)
    assert len(windows) == 21
    assert windows.window_and_channel(torch.tensor([0, 20]))[1].tolist() == [1, 1]
    np.testing.assert_array_equal(windows[[20]].look_back[0, :, 0], scaled(series)[108:116, 1])


def test_time_features_belong_to_look_back_and_horizon(series: Series, config: DataConfig):
    windows = windows_of(series, config, "test", channel_independent=True, needs_time_features=True)
    features = windows[[4]].inputs["time_features"]  # window 1 begins at row 89, which is 17:00
    assert features.shape == (1, 12, 4)
    expected = [(hour % 24) / 23 - 0.5 for hour in range(89, 101)]
    np.testing.assert_allclose(features[0, :, 0], expected, atol=1e-6)


def test_dates_of_a_window_are_those_of_its_horizon(series: Series, config: DataConfig):
    windows = windows_of(series, config, "test", channel_independent=False)
    assert list(windows.target_dates(2)) == list(series.dates[98:102])


@pytest.mark.parametrize("channel_independent", [True, False])
def test_the_original_look_back_has_the_files_values_and_dates(
    series: Series, config: DataConfig, channel_independent: bool
):
    windows = windows_of(series, config, "test", channel_independent=channel_independent)
    rows = torch.tensor([4, 0])
    original = windows.original_look_back(rows)
    first = [88 + (row // 3 if channel_independent else row) for row in rows.tolist()]
    for row, start in enumerate(first):
        channels = slice(1, 2) if channel_independent and row == 0 else slice(0, 1 if channel_independent else 3)
        np.testing.assert_array_equal(original["original"][row].numpy(), series.values[start : start + 8, channels])
        assert original["times"][row].tolist() == series.dates[start : start + 8].as_unit("ns").asi8.tolist()
