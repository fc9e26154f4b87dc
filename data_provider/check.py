"""Check whether a table can be trained on, and repair it: `python -m data_provider.check my.csv`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from data_provider.panel.table import allowed_horizons as panel_horizons
from data_provider.panel.table import each_series, lines_of_each
from data_provider.series import constant_notes
from data_provider.splits import Borders, parse_split
from data_provider.tables.calendars import infer_time_step, irregularity
from data_provider.tables.formats import KINDS, output_path
from data_provider.tables.own_table import check_scaled
from data_provider.tables.repair import METHODS, check_share, repair, write_table
from data_provider.tables.table import Reading, Table, column_names, read_table
from utils.terminal import one_line
from utils.time_steps import fixed_step, gaps, in_words, season_of_step

_LOOK_BACKS = (36, 96, 336, 512)
_MISSING_CODES = (-9999.0, -999.0, 9999.0)
_FAR_OUT = 5.0
# Of more channels than these, what is worth knowing is summed up.
_MAX_REMARKED = 20


def problems_of(table: Table, *, split: str | None = None, date_format: str | None = None) -> list[str]:
    """The problems that make training refuse this table, a sentence each; empty if there are none."""
    found = list(table.complaints)
    if table.is_panel:
        alone = partial(problems_of, split=None if _has_dates(split) else split, date_format=date_format)
        return [*found, *lines_of_each(table, alone)]
    undated = int(table.dates.isna().sum())
    if undated:
        found.append(f"rows without a readable date: {undated}")
    steps = np.diff(table.dates[table.dates.notna()].asi8)
    if (steps < 0).any():
        found.append(f"the dates are not sorted: rows earlier than the one above them: {int((steps < 0).sum())}")
    repeated = table.dates.dropna().duplicated()
    if repeated.any():
        first = table.dates.dropna()[repeated][0]
        found.append(f"repeated dates: {int(repeated.sum())}, the first {first}")
    ordered = pd.DatetimeIndex(table.dates.dropna().unique().sort_values())
    if len(ordered) >= 3:
        reason = irregularity(ordered, infer_time_step(ordered))
        found += [f"no regular step: {reason}"] if reason is not None else []
    found += _missing_cells(table)
    return found or _unscalable_cells(table, split, date_format)


def _unscalable_cells(table: Table, split: str | None, date_format: str | None) -> list[str]:
    """The first value that is not finite once it is scaled as in training, or whose square is none, if any."""
    borders = _borders(table, split, date_format)
    if borders is None:
        return []
    try:
        check_scaled(table, num_training_rows=borders.train)
    except ValueError as error:
        return [str(error)]
    return []


def _borders(table: Table, split: str | None, date_format: str | None) -> Borders | None:
    """The borders of the splits; None where there are none, which a later line says."""
    try:
        borders = parse_split(split, table.dates, zone=table.zone, date_format=date_format)
    except ValueError:
        return None
    return borders if borders.train else None


def _has_dates(split: str | None) -> bool:
    return split is not None and len(split.split(",")) == 2


def _missing_cells(table: Table) -> Iterator[str]:
    for name, column in zip(table.columns, table.values.T, strict=True):
        missing = ~np.isfinite(column) & ~table.unread[:, table.columns.index(name)]
        if missing.any():
            share, where = 100 * missing.mean(), table.dates[int(missing.argmax())]
            count = int(missing.sum())
            yield f"column {name}: missing or infinite cells: {count} ({share:.2g} percent), the first at {where}"


def remarks_on(table: Table) -> list[str]:
    """Remarks that do not stop training: gaps, constant columns, outliers, codes for missing values."""
    if table.is_panel:
        return lines_of_each(table, remarks_on)
    dates = pd.DatetimeIndex(table.dates.dropna().unique().sort_values())
    found = []
    if len(dates) >= 3:
        time_step = infer_time_step(dates)
        holes = gaps(dates, time_step)
        if holes:
            longest = max(holes, key=lambda hole: hole[1] - hole[0])
            found.append(
                f"gaps (steps longer than {time_step}): {len(holes)}, the longest {longest[0]} .. {longest[1]}; "
                "windows would run across them"
            )
        elif fixed_step(time_step) is not None and len(np.unique(np.diff(dates.asi8))) > 1:
            found.append(f"steps differ: {time_step} is only the most frequent one")
    return found + _remarks_on_columns(table)


def _remarks_on_columns(table: Table) -> list[str]:
    """A line for each remark on a column; of one kind on many columns, a line in all."""
    by_kind: dict[str, list[str]] = {}
    for name, column in zip(table.columns, table.values.T, strict=True):
        for remark in _column_remarks(column[np.isfinite(column)]):
            by_kind.setdefault(remark.split()[0].rstrip(":"), []).append(f"column {name}: {remark}")
    found = []
    for kind, lines in by_kind.items():
        is_many = len(lines) > _MAX_REMARKED
        found += [*lines[:3], f"{kind}: {len(lines)} columns in all, the first three above"] if is_many else lines
    return found


def _column_remarks(column: np.ndarray) -> Iterator[str]:
    if len(column) == 0:
        return
    if column.min() == column.max():
        yield f"constant ({column[0]:g}): it teaches nothing, leave it out with --columns"
        return
    low, high = np.quantile(column, [0.25, 0.75])
    far = _FAR_OUT * (high - low)
    if far == 0:
        return
    outliers = (column < low - far) | (column > high + far)
    for code in _MISSING_CODES:
        count = int((column[outliers] == code).sum())
        if count:
            yield f"{code:g} stands in {count} cells and looks like a code for missing: see --missing_code {code:g}"
    if outliers.any():
        yield (
            f"outliers: {int(outliers.sum())}, further than {_FAR_OUT:g} interquartile ranges from the quartiles "
            f"({column[outliers].min():g} .. {column[outliers].max():g})"
        )


def allowed_horizons(table: Table, split: str | None, date_format: str | None = None) -> list[str]:
    """Rows per split, then the longest possible horizon for each usual look-back: every split needs one window."""
    if table.is_panel:
        return panel_horizons(list(each_series(table)), None if _has_dates(split) else split, _LOOK_BACKS)
    borders = parse_split(split, table.dates, zone=table.zone, date_format=date_format)
    sizes = (borders.train, borders.validation - borders.train, borders.test - borders.validation)
    lines = [f"training {sizes[0]} rows, validation {sizes[1]}, test {sizes[2]}"]
    for look_back in _LOOK_BACKS:
        longest = min(sizes[0] - look_back, sizes[1], sizes[2])
        allowed = f"--pred_len up to {longest}" if longest > 0 else "too few rows"
        lines.append(f"--seq_len {look_back}: {allowed}")
    return lines


def overview(table: Table) -> list[str]:
    """Lines with the size, dates, time step and season of the table."""
    dates = table.dates.dropna()
    counts = np.sort((~table.absent).sum(axis=0))
    size = f"series of {counts[0]} to {counts[-1]} rows, {len(counts)} of them" if table.is_panel else ""
    lines = [
        f"{size or f'{len(table.values)} rows x {len(table.columns)} channels'}: {', '.join(table.columns[:10])}"
        + (" ..." if len(table.columns) > 10 else ""),
        f"dates in column {table.date_column}: {dates.min()} .. {dates.max()}",
    ]
    if table.is_panel:
        dates = max((part.dates for part in each_series(table)), key=len)
    if len(dates.unique()) >= 3:
        time_step = infer_time_step(pd.DatetimeIndex(dates.unique().sort_values()))
        lines.append(f"step {in_words(time_step)}, season {season_of_step(time_step)} steps")
    return lines


def _print_block(title: str, lines: list[str]) -> None:
    print(one_line(title))
    for line in lines or ["nothing"]:
        print(f"  {one_line(line)}")


def report(table: Table, *, split: str | None, date_format: str | None = None) -> bool:
    """Print overview, problems and remarks. Returns whether training accepts the table."""
    problems = problems_of(table, split=split, date_format=date_format)
    _print_block(f"{table.path}", overview(table))
    _print_block("Problems (training refuses them; --fix interpolate|ffill|drop repairs)", problems)
    borders = None if table.is_panel else _borders(table, split, date_format)
    late = [] if borders is None else constant_notes(table.values, table.columns, borders)
    _print_block("Worth knowing", [*table.notes, *remarks_on(table), *late])
    if not problems:
        shown = "0.7,0.1,0.2" if split is None or (table.is_panel and _has_dates(split)) else split
        _print_block(f"Splits ({shown})", allowed_horizons(table, split, date_format))
    return not problems


def _remove_codes(table: Table, codes: tuple[str, ...]) -> None:
    """Turn cells that hold a code for missing into missing ones, however the number is written."""
    for code in codes:
        try:
            table.values[table.values == float(code)] = np.nan
        except ValueError:
            continue


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_provider.check", description=__doc__)
    parser.add_argument("file", type=Path, help=KINDS)
    parser.add_argument("--date_column", help="column with the dates, or two as date,time (default: found)")
    parser.add_argument("--columns", help='channels, separated by commas, as in a,"b, c" (default: all columns)')
    parser.add_argument("--date_format", help="how dates are written, such as %%d.%%m.%%Y, or s, ms, us, ns since 1970")
    parser.add_argument("--decimal", help="decimal mark, . or , (default: found where it is certain)")
    parser.add_argument("--thousands", help="mark between thousands: . , space or none (default: found)")
    parser.add_argument("--series_column", help="long format: which series a row belongs to (default: unique_id)")
    parser.add_argument("--value_column", help="long format: the column of values (default: y, value or the only one)")
    parser.add_argument("--encoding", help="encoding of a text file, such as gbk or cp1251")
    parser.add_argument("--split", help="0.7,0.1,0.2 (default) or two dates at which validation and test begin")
    parser.add_argument("--missing_code", help="what means a missing cell, such as -9999 or -9999,broken")
    parser.add_argument("--fix", choices=METHODS, help="write a repaired copy and list the changes")
    parser.add_argument("--force", action="store_true", help="let --fix change more than a tenth of the table")
    parser.add_argument(
        "--output", type=Path, help="path of the repaired copy (default: FILE.fixed.csv beside the file)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Exit code: 0 if the table (or its repaired copy) can be trained on, 1 if not, 2 on an error."""
    asked = _parse_arguments(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without Chinese letters shows them as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        codes = tuple(code.strip() for code in (asked.missing_code or "").split(",") if code.strip())
        reading = Reading(
            date_column=asked.date_column,
            columns=column_names(asked.columns),
            date_format=asked.date_format,
            decimal=asked.decimal,
            thousands=asked.thousands,
            encoding=asked.encoding,
            series_column=asked.series_column,
            value_column=asked.value_column,
            missing=codes,
        )
        table = read_table(asked.file, reading, lenient=True)
        _remove_codes(table, codes)
        usable = report(table, split=asked.split, date_format=asked.date_format)
        if asked.fix is None:
            return 0 if usable else 1
        output = asked.output or output_path(asked.file, ".fixed")
        if output.resolve() == asked.file.resolve():
            raise ValueError(f"--output {output} is the file itself: a repaired copy needs another name")
        repaired, changes = repair(table, asked.fix)
        _print_block(f"--fix {asked.fix} changes", changes.lines)
        check_share(changes, path=table.path, force=asked.force)
        write_table(repaired, output)
        print(one_line(f"Wrote {output}"))
        repaired = replace(repaired, path=output)
        return 0 if report(repaired, split=asked.split, date_format=asked.date_format) else 1
    except BrokenPipeError:  # `| head`
        raise
    except (ValueError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    exit_with(run_tool(main))
