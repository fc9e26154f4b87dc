"""Reading and validating: what is accepted, and the one line for what is not."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_provider import datasets
from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from data_provider.datasets import DATASETS
from tests.data_provider.conftest import config_of, small_table


def test_values_dates_and_columns_are_those_of_the_file(config: DataConfig, table: pd.DataFrame):
    series = load_series(config)
    np.testing.assert_allclose(series.values, table[["a", "b", "OT"]].to_numpy(), rtol=1e-15)
    assert series.columns == ["a", "b", "OT"]
    assert list(series.dates) == list(table["date"])
    assert (series.time_step, series.season_length, series.name) == ("h", 24, "my")
    assert (series.borders.train, series.borders.validation, series.borders.test) == (84, 96, 120)


def test_the_scaler_sees_training_rows_only(csv: Path, table: pd.DataFrame):
    expected = load_series(config_of(csv)).scaler
    table.iloc[84:, 1:] = 1e6
    table.to_csv(csv, index=False)
    changed = load_series(config_of(csv)).scaler
    assert (changed.mean == expected.mean).all()
    assert (changed.scale == expected.scale).all()


def test_few_shot_does_not_change_the_scaler(csv: Path):
    whole, few = load_series(config_of(csv)), load_series(config_of(csv, percent=20))
    assert (whole.scaler.mean == few.scaler.mean).all()


def test_s_reads_the_target_only_and_ms_evaluates_it_only(csv: Path):
    single = load_series(config_of(csv, features="S", target="b"))
    assert (single.columns, single.target_channels, single.values.shape) == (["b"], [0], (120, 1))
    both = load_series(config_of(csv, features="MS", target="b"))
    assert (both.columns, both.target_channels) == (["a", "b", "OT"], [1])


def test_the_fingerprint_follows_the_content_of_the_file(csv: Path, table: pd.DataFrame):
    before = load_series(config_of(csv)).fingerprint
    table.iloc[0, 1] += 1
    table.to_csv(csv, index=False)
    assert load_series(config_of(csv)).fingerprint != before


def test_parquet_and_csv_give_the_same_series(csv: Path, table: pd.DataFrame, tmp_path: Path):
    table.to_parquet(tmp_path / "my.parquet")
    from_parquet, from_csv = load_series(config_of(tmp_path / "my.parquet")), load_series(config_of(csv))
    np.testing.assert_allclose(from_parquet.values, from_csv.values, rtol=1e-15)
    assert list(from_parquet.dates) == list(from_csv.dates)


def test_chosen_columns_come_in_the_asked_order(csv: Path):
    series = load_series(config_of(csv, columns="OT, a"))
    assert series.columns == ["OT", "a"]
    assert series.values[0, 0] > series.values[0, 1] + 100


def test_a_relative_data_path_is_looked_for_under_the_root(csv: Path):
    assert load_series(config_of(csv, data_path="my.csv", root_path=str(csv.parent))).num_channels == 3


def test_semicolons_a_byte_order_mark_and_latin_1_names_are_read(tmp_path: Path):
    table = small_table().rename(columns={"a": "T (°C)"})
    table.to_csv(tmp_path / "latin.csv", index=False, encoding="latin-1", sep=";", lineterminator="\r\n")
    table.to_csv(tmp_path / "bom.csv", index=False, encoding="utf-8-sig")
    for name in ("latin.csv", "bom.csv"):
        assert load_series(config_of(tmp_path / name)).columns == ["T (°C)", "b", "OT"]


def test_a_gap_is_a_note_and_no_refusal(csv: Path, table: pd.DataFrame, caplog: pytest.LogCaptureFixture):
    table.drop(index=range(20, 24)).to_csv(csv, index=False)
    with caplog.at_level(logging.INFO):
        assert len(load_series(config_of(csv)).values) == 116
    assert "1 gap(s) in the dates, the first 2024-01-01 19:00:00 .. 2024-01-02 00:00:00" in caplog.text


def broken(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The table with one defect."""
    cells: Any = table.astype({"b": object}) if kind == "text" else table.copy()
    if kind == "text":
        cells.loc[30, "b"] = "broken"
    if kind == "missing":
        cells.loc[[30, 31], "b"] = np.nan
    if kind == "infinite":
        cells.loc[30, "b"] = np.inf
    if kind == "unsorted":
        cells.loc[[30, 31], "date"] = cells.loc[[31, 30], "date"].to_numpy()
    if kind == "repeated":
        cells.loc[30, "date"] = cells.loc[29, "date"]
    if kind == "bad date":
        cells["date"] = cells["date"].astype(str)
        cells.loc[30, "date"] = "yesterday"
    if kind == "no date":
        cells["date"] = cells["date"].astype(str)
        cells.loc[30, "date"] = None
    if kind == "no date column":
        cells = cells.rename(columns={"date": "when"})
    if kind == "only dates":
        cells = cells[["date"]]
    if kind == "two rows":
        cells = cells[:2]
    if kind == "mixed offsets":
        cells["date"] = [f"{date.isoformat()}+0{1 + index // 60}:00" for index, date in enumerate(cells["date"])]
    return cells


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", r"column b holds 'broken' in data row 31, which is not a number: correct it"),
        ("missing", r"has 2 missing or infinite cells, the first in column b at 2024-01-02 06:00:00: .*check .* --fix"),
        ("infinite", r"has 1 missing or infinite cells, the first in column b"),
        ("unsorted", r"dates are not sorted: 2024-01-02 06:00:00 follows 2024-01-02 07:00:00 in data row 32"),
        ("repeated", r"dates are repeated: 2024-01-02 05:00:00 follows 2024-01-02 05:00:00 in data row 31"),
        ("bad date", r"date column date holds 'yesterday' in data row 31, which is not a date"),
        ("no date", r"date column date has an empty cell in data row 31"),
        ("no date column", r"has no column called date: name it with --date_column, one of: when, a, b, OT"),
        ("only dates", r"has no column beside its dates"),
        ("two rows", r"has too few rows: 2, and at least 3"),
        ("mixed offsets", r"mixes UTC offsets \(\+01:00, \+02:00\): .*check .* writes a copy in UTC"),
    ],
)
def test_a_defect_is_refused_in_one_line_that_names_file_and_place(
    csv: Path, table: pd.DataFrame, kind: str, message: str
):
    broken(table, kind).to_csv(csv, index=False)
    with pytest.raises(ValueError, match=message) as refusal:
        load_series(config_of(csv))
    assert "my.csv" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": "c", "features": "S"},
            "--target c is not a column of .*my.csv: --features S needs one of a, b, OT",
        ),
        ({"columns": "a,z"}, "has no column z: its columns are date, a, b, OT"),
        ({"columns": "date,a"}, "--columns names date, which is the date column"),
        ({"date_column": "ts"}, "--date_column ts is not a column of .*my.csv, which has: date, a, b, OT"),
    ],
)
def test_a_flag_that_does_not_fit_the_file_is_named(csv: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        load_series(config_of(csv, **changes))


@pytest.mark.parametrize(
    ("content", "message"), [("", "is empty"), ("date,a\n", "no rows"), ("date,a\n1,2,3\n", "cannot be read")]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "no.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_series(config_of(tmp_path / "no.csv"))


def test_a_missing_benchmark_file_offers_the_download_command(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"ETTh1.csv is missing: run `python -m data_provider.download ETTh1`"):
        load_series(DataConfig(data="ETTh1", root_path=str(tmp_path)))


def test_a_missing_custom_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"--data_path no\.csv is missing"):
        load_series(config_of(Path("no.csv"), root_path=str(tmp_path)))


def test_a_registry_file_of_another_shape_is_refused_with_expected_and_found(csv: Path):
    with pytest.raises(ValueError, match=r"expected 17420 rows x 7 channels, found 120 x 3; use --data custom"):
        load_series(DataConfig(data="ETTh1", data_path=str(csv)))


def test_a_registry_file_with_other_columns_is_refused_with_expected_and_found(tmp_path: Path):
    path = tmp_path / "other.csv"
    small_table(17_420, columns=("HUFL", "HULL", "MUFL", "MULL", "LULL", "LUFL", "OT")).to_csv(path, index=False)
    with pytest.raises(ValueError, match="expected the columns HUFL, HULL, MUFL, MULL, LUFL, LULL, OT, found HUFL"):
        load_series(DataConfig(data="ETTh1", data_path=str(path)))


def test_only_the_published_file_may_have_defects(
    tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "ECL.csv"
    broken(table, "repeated").to_csv(path, index=False)
    entry = replace(DATASETS["ECL"], num_rows=120, num_channels=3, remark="one date is repeated")
    config = DataConfig(data="ECL", data_path=str(path), seq_len=8, pred_len=4)
    monkeypatch.setitem(datasets.DATASETS, "ECL", entry)
    with pytest.raises(ValueError, match="dates are repeated"):
        load_series(config)
    monkeypatch.setitem(datasets.DATASETS, "ECL", replace(entry, sha256=datasets.sha256_of(path)))
    with caplog.at_level(logging.INFO):
        load_series(config)
    assert "the published file, used as it is: one date is repeated" in caplog.text
