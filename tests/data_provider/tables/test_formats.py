"""Files as people have them are read to the same table; what cannot be read is refused in one line."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from data_provider.tables.table import Reading, column_names, read_table

HOURS = pd.date_range("2020-01-01", periods=40, freq="h")
WAVE = (np.sin(np.arange(40) / 24 * 2 * np.pi) * 1500 + 2000).round(2)
FRAME = pd.DataFrame({"date": HOURS, "load": WAVE, "temp": (WAVE / 1000).round(3)})
SECONDS = HOURS.astype("datetime64[s]").astype("int64")
LARGE = FRAME.assign(load=np.arange(40) + 2**60 + 1)


def german(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def german_frame() -> pd.DataFrame:
    temp = [german(value, 3) for value in FRAME["temp"]]
    return pd.DataFrame({"date": HOURS.strftime("%d.%m.%Y %H:%M"), "load": [german(v) for v in WAVE], "temp": temp})


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("my.csv", FRAME.to_csv(index=False))


def excel_with_a_title(path: Path) -> None:
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame([["Report 2024"]]).to_excel(writer, index=False, header=False)
        german_frame().to_excel(writer, index=False, startrow=2)


def two_columns_of_time() -> pd.DataFrame:
    days, times = HOURS.strftime("%d/%m/%Y"), HOURS.strftime("%H:%M")
    return FRAME.drop(columns="date").assign(date=days, time=times)


WRITERS: dict[str, Callable[[Path], object]] = {
    "plain.csv": lambda path: FRAME.to_csv(path, index=False),
    "semicolon_and_comma.csv": lambda path: FRAME.to_csv(path, index=False, sep=";", decimal=","),
    "german.csv": lambda path: german_frame().to_csv(path, index=False, sep=";"),
    "german.xlsx": lambda path: german_frame().to_excel(path, index=False),
    "title.xlsx": excel_with_a_title,
    "typed.xlsx": lambda path: FRAME.to_excel(path, index=False),
    "tab.tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "pipe.csv": lambda path: FRAME.to_csv(path, index=False, sep="|"),
    "packed.csv.gz": lambda path: path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode())),
    "packed.zip": zipped,
    "typed.feather": lambda path: FRAME.to_feather(path),
    "typed.parquet": lambda path: FRAME.to_parquet(path, index=False),
    "utf16.csv": lambda path: FRAME.to_csv(path, index=False, encoding="utf-16"),
    "bom.csv": lambda path: FRAME.to_csv(path, index=False, encoding="utf-8-sig"),
    "comments.csv": lambda path: path.write_text(f"# a logger\n# of ours\n{FRAME.to_csv(index=False)}# end\n"),
    "header_comment.csv": lambda path: path.write_text(f"# a logger\n# {FRAME.to_csv(index=False)}"),
    "separator_line.csv": lambda path: path.write_text("sep=;\n" + FRAME.to_csv(index=False, sep=";")),
    "counted_rows.csv": lambda path: FRAME.to_csv(path),
    "nameless_dates.csv": lambda path: FRAME.set_index("date").rename_axis(None).to_csv(path),
    "trailing.csv": lambda path: path.write_text(FRAME.to_csv(index=False, sep=";").replace("\n", ";;\n")),
    "two_columns.csv": lambda path: two_columns_of_time().to_csv(path, index=False),
    "seconds.csv": lambda path: FRAME.assign(date=HOURS.astype("datetime64[s]").astype("int64")).to_csv(
        path, index=False
    ),
    "breaks.csv": lambda path: path.write_text(FRAME.to_csv(index=False).replace("load", '"\nload "', 1)),
    "spaces.parquet": lambda path: FRAME.rename(columns={"load": " load "}).to_parquet(path, index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str):
    WRITERS[name](tmp_path / name)
    table = read_table(tmp_path / name)
    assert table.columns == ["load", "temp"]
    assert list(table.dates) == list(HOURS)
    np.testing.assert_array_equal(table.values, FRAME[["load", "temp"]].to_numpy())


def test_what_was_found_is_said(tmp_path: Path):
    for name, said in {
        "german.csv": "decimal comma: read with --decimal ,; thousands separator",
        "counted_rows.csv": "column 1, without a name, is left out: it counts the rows",
        "trailing.csv": "column 4, without a name, is left out: it is empty",
        "nameless_dates.csv": "the dates are in the column without a name",
        "two_columns.csv": "dates are read from the columns date and time",
        "seconds.csv": "dates are counts since 1970 in s",
    }.items():
        WRITERS[name](tmp_path / name)
        assert any(said in note for note in read_table(tmp_path / name).notes), name


def two_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "y")


def damage(path: Path, write: Callable[[Path], object]) -> None:
    """Invert the middle of what `write` writes, where the packed text is."""
    write(path)
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 4, len(content) // 2)
    content[middle] = bytes(255 - byte for byte in content[middle])
    path.write_bytes(content)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "noise.csv": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "is not a text file"),
    "text.parquet": (lambda path: FRAME.to_csv(path), "cannot be read as a table"),
    "text.xlsx": (lambda path: FRAME.to_csv(path), "cannot be read as an Excel file"),
    "text.csv.gz": (lambda path: FRAME.to_csv(path, compression=None), "cannot be unpacked"),
    "text.zip": (lambda path: path.write_text("no"), "cannot be unpacked"),
    "damaged.csv.gz": (lambda path: damage(path, lambda path: FRAME.to_csv(path, index=False)), "cannot be unpacked"),
    "damaged.zip": (lambda path: damage(path, zipped), "cannot be unpacked"),
    "two.zip": (two_files, r"must hold one file, and holds 2 \(a.csv, b.csv\)"),
    "old.xls": (lambda path: path.write_bytes(b"x"), "is a .xls file, which is not read: save it as CSV"),
    "empty.csv": (lambda path: path.write_text(""), "is empty"),
    "two_readings.csv": (
        lambda path: FRAME.assign(load=[f"{value + 1000:,.0f}" for value in WAVE]).to_csv(path, index=False),
        "3,000 can be 3000 or 3.000: give --thousands , or --decimal ,",
    ),
    "nameless.csv": (lambda path: path.write_text(FRAME.to_csv(index=False).replace("load", "", 1)), "2 has no name"),
    "big.csv": (
        lambda path: FRAME.assign(load=np.arange(40) + 2**60 + 1).to_csv(path, index=False),
        "column load holds",
    ),
    "big.parquet": (lambda path: LARGE.to_parquet(path), "column load holds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_refused_in_one_line_that_names_the_file(tmp_path: Path, name: str):
    write, message = WRONG[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(tmp_path / name)
    line = str(caught.value)
    assert str(tmp_path / name) in line and "\n" not in line and line.isprintable()


@pytest.mark.parametrize(("encoding", "title"), [("gbk", "负荷"), ("shift_jis", "温度"), ("cp1251", "нагрузка")])
def test_other_encodings_are_refused_until_they_are_named(tmp_path: Path, encoding: str, title: str):
    path = tmp_path / "my.csv"
    FRAME.drop(columns="temp").rename(columns={"load": title}).to_csv(path, index=False, encoding=encoding)
    with pytest.raises(ValueError, match=r"my.csv is not in UTF-8.*--encoding"):
        read_table(path)
    assert read_table(path, Reading(encoding=encoding)).columns == [title]


def test_western_signs_need_no_flag(tmp_path: Path):
    FRAME.rename(columns={"temp": "T (°C)"}).to_csv(tmp_path / "my.csv", index=False, encoding="latin-1")
    assert read_table(tmp_path / "my.csv").columns == ["load", "T (°C)"]


def test_flags_decide_where_two_readings_are_possible(tmp_path: Path):
    write, _ = WRONG["two_readings.csv"]
    write(tmp_path / "my.csv")
    assert read_table(tmp_path / "my.csv", Reading(thousands=",")).values[0, 0] == 3000
    assert read_table(tmp_path / "my.csv", Reading(decimal=",", columns=("load",))).values[0, 0] == 3


def test_names_of_columns_may_hold_commas_and_none_may_stand_twice():
    assert column_names('a,"b, c", d') == ("a", "b, c", "d")
    with pytest.raises(ValueError, match="--columns y,y names a column twice: y"):
        column_names("y,y")


@pytest.mark.parametrize("digits", [308, 309, 400, 5000])
def test_a_number_of_hundreds_of_digits_is_refused_in_one_line(tmp_path, digits):
    frame = FRAME.astype({"load": str})
    frame.loc[7, "load"] = "9" * digits
    frame.to_csv(tmp_path / "long.csv", index=False)
    with pytest.raises(ValueError, match=r"load") as refused:
        read_table(tmp_path / "long.csv", Reading())
    assert len(str(refused.value)) < 1000 and "\n" not in str(refused.value)


def odd_columns() -> dict[str, tuple[pa.Array, pa.Array]]:
    """Dates and values that a typed file can hold and a table cannot."""
    values, dates = pa.array(WAVE), pa.array(HOURS)
    return {
        "seconds beyond every year": (pa.array([2**62 + row for row in range(40)], pa.timestamp("s")), values),
        "microseconds beyond every year": (pa.array([2**62 + row for row in range(40)], pa.timestamp("us")), values),
        "days beyond every year": (pa.array([2**30 + row for row in range(40)], pa.date32()), values),
        "a zone that is not": (pa.array(range(40), pa.timestamp("s", tz="Mars/Phobos")), values),
        "a union": (dates, pa.UnionArray.from_sparse(pa.array([0] * 40, pa.int8()), [values, values])),
        "bytes that are no text": (dates, pa.array([b"\xff"] * 40)),
        "dates that are no text": (pa.array([b"\xff"] * 40), values),
    }


@pytest.mark.parametrize("kind", odd_columns())
def test_what_only_a_typed_file_can_hold_is_refused_in_one_line_that_names_it(tmp_path, kind):
    dates, values = odd_columns()[kind]
    path = tmp_path / "my.feather"
    pyarrow.feather.write_feather(pa.table({"date": dates, "load": values}), path)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
