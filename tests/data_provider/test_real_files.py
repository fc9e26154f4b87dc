"""The published files themselves, where they are at hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_provider.config import DataConfig
from data_provider.data_factory import data_provider, load_series
from data_provider.datasets import DATASETS
from data_provider.tables.own_table import check_shape
from data_provider.tables.table import Reading, read_table

pytestmark = pytest.mark.shared

# Train, validation and test windows at look-back 96 and horizon 96 (ILI: 36 and 24).
COUNTS = {
    "ETTh1": (8449, 2785, 2785),
    "ETTh2": (8449, 2785, 2785),
    "ETTm1": (34_369, 11_425, 11_425),
    "ETTm2": (34_369, 11_425, 11_425),
    "Weather": (36_696, 5175, 10_444),
    "Exchange": (5120, 665, 1422),
    "ILI": (617, 74, 170),
}


@pytest.mark.parametrize("name", COUNTS)
def test_each_file_is_the_published_one_and_gives_the_window_counts_of_the_field(shared: Path, name: str):
    lengths = (36, 24) if name == "ILI" else (96, 96)
    config = DataConfig(data=name, root_path=str(shared / "dataset"), seq_len=lengths[0], pred_len=lengths[1])
    series = load_series(config)
    assert series.fingerprint == DATASETS[name].sha256
    assert series.columns[-1] == "OT"
    windows = [
        data_provider(series, split, config=config, channel_independent=False, batch_size=32)[0]
        for split in ("train", "validation", "test")
    ]
    assert tuple(len(part) for part in windows) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_a_published_file_read_directly_holds_what_a_careful_reading_finds(shared: Path, name: str):
    config = DataConfig(data=name, root_path=str(shared / "dataset"), seq_len=36, pred_len=24)
    series = load_series(config)
    table = read_table(shared / "dataset" / DATASETS[name].file, Reading(date_column="date"))
    assert (series.columns, series.values.tolist()) == (table.columns, table.values.tolist())
    assert (series.dates == table.dates).all()
    check_shape(table, DATASETS[name], name=name)


def test_etth1_rows_at_look_back_512_are_those_of_balm(shared: Path):
    config = DataConfig(data="ETTh1", root_path=str(shared / "dataset"))
    series = load_series(config)
    windows, _ = data_provider(series, "train", config=config, channel_independent=True, batch_size=32)
    assert len(windows) == 56_231
    test, loader = data_provider(series, "test", config=config, channel_independent=True, batch_size=1000)
    assert len(test) == 2785 * 7
    frame = pd.read_csv(shared / "dataset/ETT-small/ETTh1.csv").iloc[:, 1:].to_numpy()
    scaled = (frame - frame[:8640].mean(axis=0)) / frame[:8640].std(axis=0)
    batch = next(iter(loader))
    window, channel = test.window_and_channel(batch.rows)
    for row in (0, 1, 6, 7, 999):
        start = 11_520 - 512 + int(window[row])
        expected = scaled[start : start + 608, int(channel[row])]
        np.testing.assert_allclose(batch.look_back[row, :, 0], expected[:512], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.target[row, :, 0], expected[512:], rtol=1e-5, atol=1e-6)


def test_the_published_weather_file_is_used_as_it_is_with_a_note_and_refused_as_custom_data(shared: Path):
    path = shared / "dataset/weather/weather.csv"
    series = load_series(DataConfig(data="Weather", root_path=str(shared / "dataset")))
    assert (series.values == -9999).sum() == 81
    assert any("81 cells hold -9999" in note for note in series.notes)
    with pytest.raises(ValueError, match="dates are repeated: 2020-05-12 06:00:00"):
        load_series(DataConfig(data="custom", data_path=str(path)))


def test_the_six_real_columns_of_ecl_load_as_custom_data_and_are_refused_as_ecl(shared: Path):
    path = str(shared / "dataset/partial/electricity_6of321_cols.csv")
    series = load_series(DataConfig(data="custom", data_path=path))
    assert (series.values.shape, series.time_step, series.season_length) == ((26_304, 6), "h", 24)
    with pytest.raises(ValueError, match=r"expected 26304 rows x 321 channels, found 26304 x 6"):
        load_series(DataConfig(data="ECL", data_path=path))
