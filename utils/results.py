"""Collect run folders into a tidy CSV and tables: `python -m utils.results RESULTS_DIR [--compare BALM DLinear]`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.files import replace_file
from utils.report.comparison_tables import against_published, published_accuracy, published_table, significance_table
from utils.report.finished_runs import Run, read_runs
from utils.report.pages.page import page
from utils.report.result_groups import ResultGroup, across_look_backs, result_groups
from utils.report.result_rows import Frame, measures_of, naive_rows, result_rows
from utils.report.result_tables import ablation_tables, accuracy_table, cost_table
from utils.report.table import Table, to_markdown, to_text
from utils.terminal import one_line, print_to_the_end, printable

FORMULA_STARTS = tuple("=+-@\t\r")
FEW = 6
NARROW = 120
# Tables to look something up in, which would hide the results on a terminal.
FILES_ONLY = ("Published: ", "Cost: ")


@dataclass(frozen=True)
class Results:
    """What the run folders hold: runs, a row per run and test set, tables in reading order, and what was left out."""

    runs: list[Run]
    rows: Frame
    tables: list[Table]
    skipped: dict[str, str]
    problems: list[str] = field(default_factory=list)


def collect(root: Path, compare: Sequence[str] = ()) -> Results:
    """All tables of the runs under `root`; `compare` names two models as the tables do.

    Raises FileNotFoundError if `root` is no folder, ValueError if `compare` names a model that no run has or two that
    have nothing in common.
    """
    runs, unusable = read_runs(root)
    skipped = {printable(str(folder)): reason for folder, reason in unusable.items()}
    rows, repeated = result_rows(runs)
    if rows.empty:
        return Results([], rows, [], skipped)
    compare = [_named(name, sorted(set(rows["name"]))) for name in compare]
    tables, problems = _tables(result_groups(rows, naive_rows(runs), measures_of(runs)), runs, compare)
    if compare and not any(" against " in table.title for table in tables) and not problems:
        raise ValueError(
            f"--compare: {' and '.join(compare)} share no data set, horizon, look-back, labels and seed; there are "
            + "; ".join(_cells_of(name, rows) for name in dict.fromkeys(compare))
        )
    return Results(runs, rows, tables, skipped | repeated, problems)


def _named(wanted: str, names: Sequence[str]) -> str:
    """The name in the tables that `wanted` is, or the only one that holds it. Raises ValueError."""
    found = [name for name in names if name == wanted] or [name for name in names if wanted.lower() in name.lower()]
    if len(found) != 1:
        what = f"could be any of {', '.join(found)}" if found else f"no run of that name; there are {', '.join(names)}"
        raise ValueError(f"--compare {wanted}: {what}")
    return found[0]


def _cells_of(name: str, rows: Frame) -> str:
    """The cells that a model was run in, as a text."""
    cells = rows[rows["name"] == name].groupby(["data", "seq_len", "pred_len", "labels"])["seed"]
    texts = [
        f"{data} {seq_len} to {pred_len}, seeds {', '.join(map(str, sorted(set(seeds))))}"
        + (f" ({labels})" if labels else "")
        for (data, seq_len, pred_len, labels), seeds in cells
    ]
    return f"{name} on {', '.join(texts[:FEW])}" + (f" and {len(texts) - FEW} more" if len(texts) > FEW else "")


def write_results(results: Results, output: Path, root: Path) -> list[Path]:
    """Write results.csv, results.md and results.html into `output`; returns their paths."""
    left_out = left_out_lines(results)
    markdown = [f"# Results of {root.name or root}\n", *map(to_markdown, results.tables)]
    if left_out:
        markdown.append("## Left out\n\n" + "\n".join(f"- {line}" for line in left_out) + "\n")
    contents = {
        "results.csv": without_formulas(results.rows).to_csv(index=False),
        "results.md": printable("\n".join(markdown)),
        "results.html": page(f"Results of {root.name or root}", results.tables, left_out=left_out),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        replace_file(output / name, content.encode(errors="backslashreplace"))
    return [output / name for name in contents]


def without_formulas(rows: Frame) -> Frame:
    """The rows; texts and names of columns are without control characters, and none is a formula for a spreadsheet."""
    texts = rows.select_dtypes(include=["object", "string"])
    return rows.assign(**{name: column.map(_as_text) for name, column in texts.items()}).rename(columns=_as_text)


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value[:1] in FORMULA_STARTS else printable(value)


def left_out_lines(results: Results) -> list[str]:
    """One line for each folder or comparison that is not in the tables, with its reason."""
    return [f"{Path(folder).name}: {reason}" for folder, reason in results.skipped.items()] + results.problems


def _tables(groups: list[ResultGroup], runs: list[Run], compare: Sequence[str]) -> tuple[list[Table], list[str]]:
    published = published_accuracy()
    tables: list[Table | None] = []
    problems: list[str] = []
    for group in groups:
        tables += [accuracy_table(group), *ablation_tables(group), against_published(group, published)]
        tables.append(against_published(group, published, own_look_back=True))
        if compare:
            table, untested = significance_table(group, compare[0], compare[1], runs)
            tables.append(table)
            problems += untested
        tables += [published_table(group, published), cost_table(group)]
    tables += [accuracy_table(group) for group in across_look_backs(groups)]
    return [table for table in tables if table], problems


def collect_or_complain(root: Path, compare: Sequence[str]) -> Results | None:
    """`collect`, with what was left out on stderr; None, after one line on stderr, if no run could be read."""
    try:
        results = collect(root, compare)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return None
    for line in left_out_lines(results):
        print(f"left out: {one_line(line)}", file=sys.stderr)
    if not results.runs:
        print(f"error: {one_line(str(root))} holds no run that could be read", file=sys.stderr)
        return None
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m utils.results", description=__doc__)
    parser.add_argument("results_dir", type=Path, help="folder that holds the run folders (searched at any depth)")
    parser.add_argument(
        "--output", type=Path, help="folder for results.csv, results.md, results.html (default: the same)"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("MODEL", "MODEL"), default=(),
        help="two models as the tables name them: paired significance test over the same test windows and seeds",
    )  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 1 if nothing could be read."""
    options = _parser().parse_args(arguments)
    results = collect_or_complain(options.results_dir, options.compare)
    if results is None:
        return 1
    try:
        paths = write_results(results, options.output or options.results_dir, options.results_dir)
    except OSError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    width = shutil.get_terminal_size((NARROW, 24)).columns
    shown = [to_text(table, width=width) for table in results.tables if not table.title.startswith(FILES_ONLY)]
    count = f"{len(results.runs)} runs read, {len(results.skipped)} left out; all tables: {', '.join(map(str, paths))}"
    print_to_the_end(printable("\n\n".join([*shown, count])))
    return 0


if __name__ == "__main__":
    exit_with(run_tool(main))
