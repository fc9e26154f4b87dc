"""Open a table of any format people have: names of its columns, and the columns themselves as numbers or text."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import mmap
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from data_provider.tables.encodings import Content, encoding_of

PARQUET_SUFFIXES = (".parquet", ".pq")
FEATHER_SUFFIXES = (".feather", ".arrow", ".ipc")
EXCEL_SUFFIXES = (".xlsx", ".xlsm")
KINDS = "CSV, Parquet, Feather or Excel (.xlsx), or one of them as .gz or .zip"
_OTHER_SUFFIXES = (".xls", ".ods", ".json", ".jsonl", ".h5", ".hdf5", ".pkl", ".npy", ".npz", ".mat", ".nc", ".tsf")
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "-"]
_DELIMITERS = ",;\t|"
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # none of them is an OSError


@dataclass(frozen=True, eq=False)
class OpenTable:
    """A table whose columns are read on demand; `names` are stripped, `types` those of the file (empty for text).

    `table` holds the columns of a typed file under their stripped names; text files are read from `text`.
    """

    path: Path
    names: list[str]
    types: dict[str, pa.DataType] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    table: pa.Table | None = None
    text: Content | None = None
    delimiter: str = ","
    num_header_lines: int = 1

    def columns(
        self, texts: Sequence[str], numbers: Sequence[str], *, missing: Sequence[str] = ()
    ) -> dict[str, pa.ChunkedArray]:
        """The columns by name: `texts` as text, `numbers` as numbers, or all as text if a cell is no number."""
        wanted = [*texts, *numbers]
        if self.table is not None:
            return {name: _without(self.table.column(name), missing) for name in wanted}
        types = {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.float64())}
        try:
            found = self._parse(types, missing)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            found = self._parse(dict.fromkeys(wanted, pa.string()), missing)
        return {name: found.column(name) for name in wanted}

    def head(self, name: str, num_rows: int = 200) -> list[str]:
        """The first cells of a column as text, without empty ones."""
        if self.table is not None:
            cells = self.table.column(name).slice(0, num_rows).to_pylist()
            return [str(cell) for cell in cells if cell is not None]
        place = self.names.index(name)
        assert self.text is not None
        lines = io.StringIO(self.text[:1_000_000].decode("utf-8", errors="ignore"), newline="")
        rows = csv.reader(lines, delimiter=self.delimiter)
        found = []
        try:
            for row in rows:
                if rows.line_num > self.num_header_lines and len(row) > place:
                    found.append(row[place].strip())
                if len(found) == num_rows:
                    break
        except csv.Error as error:
            raise ValueError(f"{self.path} cannot be read as a table: line {rows.line_num}: {error}") from None
        return [cell for cell in found if cell not in _MISSING]

    def _parse(self, types: dict[str, pa.DataType], missing: Sequence[str]) -> pa.Table:
        assert self.text is not None
        # Columns are named by position: names of a file may repeat or be empty.
        places = [f"{number}" for number in range(len(self.names))]
        by_place = {places[self.names.index(name)]: kind for name, kind in types.items()}
        found = pyarrow.csv.read_csv(
            pa.BufferReader(self.text),
            read_options=pyarrow.csv.ReadOptions(column_names=places, skip_rows=self.num_header_lines),
            parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=by_place,
                include_columns=list(by_place),
                null_values=[*_MISSING, *missing],
                strings_can_be_null=True,
            ),
        )
        return found.rename_columns(list(types))


def open_table(path: Path, *, encoding: str | None = None) -> OpenTable:
    """Open a table by its suffix, and by its content where that is text. Raises FileNotFoundError or ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give an existing table as --data_path ({KINDS})")
    name, content = _unpacked(path)
    suffix = PurePath(name).suffix.lower()
    if suffix in _OTHER_SUFFIXES:
        raise ValueError(f"{path} is a {suffix} file, which is not read: save it as {KINDS}")
    try:
        if suffix in PARQUET_SUFFIXES:
            return _typed(path, pyarrow.parquet.read_table(pa.BufferReader(content)))
        if suffix in FEATHER_SUFFIXES:
            return _typed(path, pyarrow.feather.read_table(pa.BufferReader(content)))
        if suffix in EXCEL_SUFFIXES:
            return _typed(path, *_excel(path, content))
        return _text(path, content, encoding)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table: its header line is no CSV ({error})") from None
    except (pa.ArrowException, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table: {_line(error)}") from None


def output_path(path: Path, mark: str) -> Path:
    """The name of a changed copy beside `path`, in a format that is written: CSV, or Parquet for Parquet."""
    stem = path.name
    while PurePath(stem).suffix.lower() in (".gz", ".zip"):
        stem = stem[: -len(PurePath(stem).suffix)]
    suffix = PurePath(stem).suffix
    kept = suffix if suffix.lower() in (*PARQUET_SUFFIXES, ".csv", ".txt", ".tsv") else ".csv"
    return path.with_name(f"{stem.removesuffix(suffix)}{mark}{kept}")


def _unpacked(path: Path) -> tuple[str, Content]:
    """Name and content of the file, out of its archive."""
    suffix, names = path.suffix.lower(), list[str]()
    try:
        if suffix == ".gz":
            with gzip.open(path) as file:
                return path.stem, file.read()
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
                if len(names) == 1:
                    return names[0], archive.read(names[0])
    except (*_BROKEN_ARCHIVE, OSError, EOFError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be unpacked: {_line(error)}") from None
    if suffix == ".zip":
        shown = ", ".join(names[:5]) or "none"
        raise ValueError(f"{path} must hold one file, and holds {len(names)} ({shown}): unpack the one")
    if path.stat().st_size == 0:
        return path.name, b""
    with path.open("rb") as file:
        return path.name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _line(error: BaseException) -> str:
    """The first line of what the error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _names(names: Iterable[object]) -> list[str]:
    """Names of columns in one line, without spaces around them; nameless ones are numbered, as pandas does it."""
    stripped = [" ".join(str(name).split()) for name in names]
    return [name or f"Unnamed: {number}" for number, name in enumerate(stripped)]


def _typed(path: Path, table: pa.Table, notes: Sequence[str] = ()) -> OpenTable:
    # An index of pandas is stored under a name of its own.
    names = _names("" if re.fullmatch(r"__index_level_\d+__", name) else name for name in table.column_names)
    found = table.rename_columns(names)
    return OpenTable(path, names, dict(zip(names, found.schema.types, strict=True)), list(notes), table=found)


def _without(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.ChunkedArray:
    """A column of text with missing codes empty."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    text = pd.Series(column.to_pandas()).astype("string").str.strip()
    return pa.chunked_array([pa.array(text.where(~text.isin([*_MISSING, *missing])), type=pa.string())])


def _excel(path: Path, content: Content) -> tuple[pa.Table, list[str]]:
    """The first sheet, from the first row with two cells on; columns of one kind keep it, others become text."""
    try:
        sheets = pd.read_excel(io.BytesIO(content[:]), sheet_name=None, header=None, dtype=object, engine="openpyxl")
    except ImportError:
        raise ValueError(f"{path} needs openpyxl: pip install openpyxl, or save it as CSV") from None
    except Exception as error:  # openpyxl raises errors of many kinds for a damaged file
        raise ValueError(f"{path} cannot be read as an Excel file: {_line(error)}") from None
    name, sheet = next(iter(sheets.items()))
    sheet = sheet.dropna(how="all").dropna(how="all", axis=1)
    headers = sheet.index[sheet.notna().sum(axis=1) >= 2]
    if len(headers) == 0:
        raise ValueError(f"{path}: its first sheet, {name}, holds no table with a date column and a channel")
    body = sheet.loc[headers[0] :].iloc[1:]
    titles = ["" if pd.isna(cell) else cell for cell in sheet.loc[headers[0]]]
    columns = [_arrow(body.iloc[:, place]) for place in range(len(titles))]
    notes = [f"the first of {len(sheets)} sheets, {name}, is read"] if len(sheets) > 1 else []
    return pa.Table.from_arrays(columns, names=[str(title) for title in titles]), notes


def _arrow(cells: pd.Series) -> pa.Array:
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind in ("datetime", "datetime64", "date"):
        return pa.array(pd.to_datetime(cells))
    if kind in ("floating", "integer", "mixed-integer-float", "empty"):
        return pa.array(cells.astype(float))
    return pa.array(cells.where(cells.isna(), cells.astype(str)).astype("string"), type=pa.string())


def _text(path: Path, content: Content, encoding: str | None) -> OpenTable:
    if content[:2] not in (b"\xff\xfe", b"\xfe\xff") and encoding is None and content.find(b"\0", 0, 4096) >= 0:
        raise ValueError(f"{path} is not a text file: a table is {KINDS}")
    known = encoding_of(content, path=path, asked=encoding)
    if known not in ("utf-8", "utf-8-sig"):
        try:
            content = content[:].decode(known).encode()
        except (UnicodeDecodeError, LookupError) as error:
            raise ValueError(f"{path} cannot be read as --encoding {known}: {error}") from None
    elif known == "utf-8-sig":
        content = content[3:]
    if content[:1] == b"#" or content.find(b"\n#") >= 0:
        content = _uncommented(content[:])
    start = re.match(rb"(?:\s*\n)?(?:sep=.\r?\n)?(?:[ \t]*\r?\n)*", content[:4096])
    content = content[start.end() :] if start and start.end() else content
    if not content[:4096].strip():
        raise ValueError(f"{path} is empty: a header line with a date column and at least one channel is needed")
    delimiter = _delimiter(content[:1_000_000])
    lines = io.StringIO(content[:1_000_000].decode("utf-8", errors="ignore"), newline="")
    rows = csv.reader(lines, delimiter=delimiter)
    names = _names(next(rows))
    return OpenTable(path, names, text=content, delimiter=delimiter, num_header_lines=rows.line_num)


def _uncommented(content: bytes) -> bytes:
    """The text without comment lines; a comment right above the rows that has their delimiters is the header."""
    lead, rest = re.match(rb"(?:#.*\n)+", content), re.sub(rb"(?m)^#.*\n?", b"", content)
    if lead is None:
        return rest
    last = lead.group().splitlines()[-1]
    first = rest.split(b"\n", 1)[0]
    is_header = any(last.count(mark) == first.count(mark) > 0 for mark in (b",", b";", b"\t", b"|"))
    starts_with_digit = first[:1].isdigit()
    return last.lstrip(b"# ") + b"\n" + rest if is_header and starts_with_digit else rest


def _delimiter(content: bytes) -> str:
    """The delimiter that splits the header and the first rows into equally many cells, the most of them."""
    text = content.decode("utf-8", errors="ignore")

    def fit(delimiter: str) -> tuple[bool, int]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header, following = next(rows), [row for _, row in zip(range(5), rows, strict=False)]
        return all(len(row) == len(header) for row in following), len(header)

    fits = {delimiter: fit(delimiter) for delimiter in _DELIMITERS}
    equal = {delimiter: count for delimiter, (is_equal, count) in fits.items() if is_equal and count > 1}
    counts = equal or {delimiter: count for delimiter, (_, count) in fits.items()}
    return max(counts, key=lambda delimiter: counts[delimiter])
