"""Checking and repairing a table: what is said, what is written, and that training then takes it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_provider.check import main
from data_provider.data_factory import load_series
from tests.data_provider.conftest import config_of
from utils.files import owner_mark


def check(path: Path, *flags: str) -> int:
    return main([str(path), *flags])


def spoil(table: pd.DataFrame) -> pd.DataFrame:
    """A gap, a repeated date, two swapped rows, missing and unreadable cells, a constant column and a missing code."""
    spoilt = table.astype({"b": object})
    spoilt["still"] = 3.0
    spoilt.loc[[10, 11], "a"] = np.nan
    spoilt.loc[40, "b"] = "broken"
    spoilt.loc[60, "OT"] = -9999
    rows = [*range(20), 21, 20, *range(22, 30), 29, *range(30, 70), *range(74, 120)]
    return spoilt.iloc[rows]


def test_a_good_table_is_described_and_its_horizons_are_named(csv: Path, capsys: pytest.CaptureFixture):
    assert check(csv) == 0
    said = capsys.readouterr().out
    for expected in (
        "120 rows x 3 channels: a, b, OT",
        "2024-01-01 00:00:00 .. 2024-01-05 23:00:00",
        "step h, season 24 steps",
        "training 84 rows, validation 12, test 24",
        "--seq_len 36: --pred_len up to 12",
        "--seq_len 96: too few rows",
    ):
        assert expected in said


def test_the_longest_horizon_it_names_is_the_longest_that_training_takes(csv: Path):
    for pred_len, fits in ((12, True), (13, False)):
        config = config_of(csv, seq_len=36, pred_len=pred_len)
        series = load_series(config)
        splits = ("train", "validation", "test")
        if fits:
            assert min(len(series.windows(split, config=config, channel_independent=False)) for split in splits) == 1
        else:
            with pytest.raises(ValueError, match="validation split has"):
                series.windows("validation", config=config, channel_independent=False)


def test_every_defect_is_named_in_plain_words(csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture):
    spoil(table).to_csv(csv, index=False)
    assert check(csv) == 1
    said = capsys.readouterr().out
    for expected in (
        "column b holds 'broken' in data row 42, which is not a number",
        "the dates are not sorted: rows earlier than the one above them: 1",
        "repeated dates: 1, the first 2024-01-02 05:00:00",
        "column a: missing or infinite cells: 2 (1.7 percent), the first at 2024-01-01 10:00:00",
        "gaps (steps longer than h): 1, the longest 2024-01-03 21:00:00 .. 2024-01-04 02:00:00",
        "column still: constant (3)",
        "column OT: -9999 stands in 1 cells and looks like a code for missing",
        "column OT: outliers: 1",
    ):
        assert expected in said
    assert list(csv.parent.iterdir()) == [csv]


@pytest.mark.parametrize(("method", "num_rows"), [("interpolate", 120), ("ffill", 120), ("drop", 112)])
def test_a_repaired_copy_can_be_trained_on_and_says_what_was_changed(
    csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture, method: str, num_rows: int
):
    spoil(table).to_csv(csv, index=False)
    before = csv.read_bytes()
    assert check(csv, "--fix", method, "--missing_code=-9999,broken") == 0
    assert csv.read_bytes() == before
    said = capsys.readouterr().out
    assert "sorted the rows by date" in said
    assert "their date was there already (the first is kept): 1" in said
    assert ("missing dates inserted: 4 in 1 gap(s), step h" in said) == (method != "drop")
    repaired = load_series(config_of(csv.with_name("my.fixed.csv")))
    assert repaired.values.shape == (num_rows, 4)
    untouched = [row for row in range(120) if row not in (10, 11, 40, 60, 70, 71, 72, 73)]
    kept = repaired.values[repaired.dates.isin(table["date"].iloc[untouched])][:, :3]
    np.testing.assert_allclose(kept, table.iloc[untouched, 1:].to_numpy(), rtol=1e-12)


def test_interpolation_is_linear_in_time_and_ffill_repeats(csv: Path, table: pd.DataFrame):
    table["a"] = np.arange(120.0)
    table.drop(index=[50, 51, 52]).to_csv(csv, index=False)
    for method, expected in (("interpolate", [49, 50, 51, 52, 53]), ("ffill", [49, 49, 49, 49, 53])):
        check(csv, "--fix", method)
        repaired = load_series(config_of(csv.with_name("my.fixed.csv")))
        np.testing.assert_allclose(repaired.values[49:54, 0], expected)


def test_dates_with_summer_and_winter_offsets_are_repaired_to_utc(csv: Path, table: pd.DataFrame):
    hours = pd.date_range("2024-03-30", periods=120, freq="h", tz="Europe/Berlin")
    table["date"] = [hour.isoformat() for hour in hours]
    table.to_csv(csv, index=False)
    assert check(csv) == 1
    assert check(csv, "--fix", "drop") == 0
    repaired = load_series(config_of(csv.with_name("my.fixed.csv")))
    assert list(repaired.dates) == list(hours.tz_convert("UTC").tz_localize(None))


def test_parquet_is_repaired_to_parquet(table: pd.DataFrame, tmp_path: Path):
    table.loc[3, "a"] = np.nan
    table.to_parquet(tmp_path / "my.parquet")
    assert check(tmp_path / "my.parquet", "--fix", "interpolate") == 0
    assert load_series(config_of(tmp_path / "my.fixed.parquet")).values.shape == (120, 3)


def test_a_univariate_daily_table_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture):
    days = pd.date_range("2020-01-01", periods=400, freq="D")
    pd.DataFrame({"ts": days, "sales": np.arange(400)}).to_csv(tmp_path / "daily.csv", index=False)
    assert check(tmp_path / "daily.csv") == 0
    assert "step D, season 7 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--date_column", "when"], "--date_column when is not a column"),
        (["--columns", "a,z"], "has no column z"),
        (["--split", "1,2,3"], "add up to 1"),
    ],
)
def test_a_wrong_flag_gets_one_line_and_leaves_nothing_behind(
    csv: Path, capsys: pytest.CaptureFixture, flags: list[str], message: str
):
    assert check(csv, *flags) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
    assert list(csv.parent.iterdir()) == [csv]


def test_a_repair_never_overwrites_its_source(csv: Path, capsys: pytest.CaptureFixture):
    before = csv.read_bytes()
    assert check(csv, "--fix", "drop", "--output", str(csv)) == 2
    assert "is the file itself" in capsys.readouterr().err
    assert csv.read_bytes() == before


def test_one_wild_date_does_not_fill_the_disk(csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture):
    table.loc[119, "date"] = pd.Timestamp("2224-01-01")
    table.to_csv(csv, index=False)
    assert check(csv, "--fix", "interpolate") == 2
    assert "holds more steps of h than the file has rows" in capsys.readouterr().err
    assert list(csv.parent.iterdir()) == [csv]


@pytest.mark.long
def test_a_million_rows_of_fifty_columns_are_checked_in_seconds(tmp_path: Path):
    import time

    import pyarrow.csv

    values = np.random.default_rng(0).standard_normal((1_000_000, 50)).round(4)
    columns = {f"x{index}": values[:, index] for index in range(50)}
    dates = pd.date_range("2000-01-01", periods=1_000_000, freq="min")
    pyarrow.csv.write_csv(pyarrow.table({"date": dates, **columns}), tmp_path / "long.csv")
    start = time.monotonic()
    assert check(tmp_path / "long.csv") == 0
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("value", "row"), [("1e308", 5), ("1e160", 5), ("-1e39", 58), ("3.4e38", 58)])
def test_a_value_that_is_not_finite_once_scaled_is_refused_by_check_and_training(tmp_path, capsys, value, row):
    from data_provider.config import DataConfig
    from data_provider.data_factory import load_series

    lines = ["date,a,b", *(f"2024-01-{1 + n // 24:02d} {n % 24:02d}:00:00,{n % 5},{n % 7}" for n in range(60))]
    lines[row] = lines[row].rpartition(",")[0] + f",{value}"
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    assert main([str(path)]) == 1
    assert f"in column b at 2024-01-{1 + (row - 1) // 24:02d}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"in column b at .* \\(data row {row}\\), which is too large to be scaled"):
        load_series(DataConfig(data="custom", data_path=str(path), seq_len=8, pred_len=4))


def test_a_repair_writes_through_no_link(csv: Path, table: pd.DataFrame):
    table.drop(index=50).to_csv(csv, index=False)
    victim = csv.with_name("victim")
    victim.write_text("precious")
    for name in (".my.fixed.csv.partial", f".my.fixed.csv.{owner_mark()}.part", "my.fixed.csv"):
        csv.with_name(name).symlink_to(victim)
    assert check(csv, "--fix", "interpolate") == 0
    assert victim.read_text() == "precious"
    assert not csv.with_name("my.fixed.csv").is_symlink()
    assert load_series(config_of(csv.with_name("my.fixed.csv"))).values.shape == (120, 3)


def test_a_cell_that_holds_something_is_never_filled(csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture):
    table.astype({"b": object}).assign(b=[*table["b"][:-1], "broken"]).to_csv(csv, index=False)
    assert check(csv, "--fix", "interpolate") == 2
    assert "what a cell holds is never replaced: column b holds 'broken' in data row 120" in capsys.readouterr().err
    assert list(csv.parent.iterdir()) == [csv]


@pytest.mark.parametrize("thousands", [True, False])
def test_decimal_commas_and_thousands_are_read_and_kept_by_a_repair(csv: Path, table: pd.DataFrame, thousands: bool):
    mark = "," if thousands else ""
    text = [f"{1000 * value:{mark}.3f}".translate(str.maketrans(",.", ".,")) for value in table["b"]]
    table.assign(b=text, a=[f"{value:.6f}".replace(".", ",") for value in table["a"]]).drop(index=50).to_csv(
        csv, index=False, sep=";", decimal=","
    )
    assert check(csv, "--fix", "interpolate") == 0
    repaired = load_series(config_of(csv.with_name("my.fixed.csv")))
    np.testing.assert_allclose(repaired.values[:50, 1], (1000 * table["b"][:50]).round(3))


def test_a_repair_of_most_of_a_table_needs_force(csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture):
    table.loc[:50, "a"] = np.nan
    table.to_csv(csv, index=False)
    assert check(csv, "--fix", "drop") == 2
    printed = capsys.readouterr()
    assert "rows removed because a cell is missing (gaps now): 51" in printed.out
    assert "--fix would change 42 % of the rows or cells, more than 10 %" in printed.err
    assert list(csv.parent.iterdir()) == [csv]
    assert check(csv, "--fix", "drop", "--force") == 0


@pytest.mark.parametrize(("freq", "num_missing"), [("B", 1), ("MS", 1), ("YE", 1), ("ME", 2)])
def test_a_repair_invents_no_date_that_the_calendar_lacks(tmp_path: Path, freq: str, num_missing: int):
    dates = pd.date_range("1950-01-01", periods=120, freq=freq)
    table = pd.DataFrame({"date": dates, "y": np.arange(120.0)})
    table.drop(index=range(17, 17 + num_missing)).to_csv(tmp_path / "my.csv", index=False)
    assert check(tmp_path / "my.csv", "--fix", "interpolate") == 0
    assert list(pd.read_csv(tmp_path / "my.fixed.csv", parse_dates=["date"])["date"]) == list(dates)


def test_rows_seconds_apart_are_not_doubled(tmp_path: Path, capsys: pytest.CaptureFixture):
    seconds = np.arange(120) * 600 + np.random.default_rng(0).integers(0, 8, 120)
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s")
    pd.DataFrame({"date": dates, "y": np.arange(120.0)}).to_csv(tmp_path / "my.csv", index=False)
    assert check(tmp_path / "my.csv") == 1
    assert check(tmp_path / "my.csv", "--fix", "interpolate") == 2
    assert "have no regular step" in capsys.readouterr().err


def test_outliers_of_very_many_channels_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture):
    values = np.random.default_rng(0).normal(size=(60, 50))
    values[7] = 1e3
    frame = pd.DataFrame(values, columns=[f"x{number}" for number in range(50)])
    frame.insert(0, "date", pd.date_range("2024-01-01", periods=60, freq="h"))
    frame.to_csv(tmp_path / "wide.csv", index=False)
    assert check(tmp_path / "wide.csv") == 0
    said = capsys.readouterr().out
    assert "outliers: 50 columns in all, the first three above" in said and said.count("outliers: 1,") == 3


def test_a_terminal_without_the_letters_of_a_name_gets_escapes(csv: Path, table: pd.DataFrame, monkeypatch):
    import io
    import sys

    table.rename(columns={"a": "负荷"}).to_csv(csv, index=False)
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert check(csv) == 0
    screen.flush()
    assert rb"\u8d1f\u8377" in screen.buffer.getvalue()


def test_a_column_that_varies_only_after_training_is_named(
    csv: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture
):
    table["late"] = np.where(np.arange(len(table)) < 90, 0.0, 5000.0)
    table.to_csv(csv, index=False)
    assert check(csv) == 0
    assert "column late is constant (0) in the training rows and varies later" in capsys.readouterr().out
    assert check(csv, "--split", "0.8,0.1,0.1") == 0
    assert "in the training rows" not in capsys.readouterr().out


def test_values_whose_squares_are_no_numbers_are_a_problem_as_in_training(csv: Path, table: pd.DataFrame):
    table["a"] *= 1e-200
    table.to_csv(csv, index=False)
    assert check(csv) == 1
    with pytest.raises(ValueError, match="whose squared errors are no numbers"):
        load_series(config_of(csv))
