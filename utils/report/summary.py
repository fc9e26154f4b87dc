"""A table of one model's runs on one data set, which a script prints at its end:
`python -m utils.report.summary --model BALM --data ETTh1 [--output_dir results]`.

Other flags are ignored, so that a script can hand on those of its runs.
"""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from utils.report.finished_runs import read_runs
from utils.report.result_groups import result_groups
from utils.report.result_rows import measures_of, naive_rows, result_rows
from utils.report.result_tables import ablation_tables, accuracy_table
from utils.report.table import to_text
from utils.terminal import print_to_the_end, printable

NARROW = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables. The exit code is always 0: the runs themselves have said what failed."""
    parser = argparse.ArgumentParser(prog="python -m utils.report.summary", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("results"))
    options, _ = parser.parse_known_args(arguments)
    if not options.output_dir.is_dir():
        return 0
    runs = [run for run in read_runs(options.output_dir)[0] if (run.metrics["model"], run.data) == _wanted(options)]
    rows, _ = result_rows(runs)
    if rows.empty:
        return 0
    tables = []
    for group in result_groups(rows, naive_rows(runs), measures_of(runs)):
        # The arms of an ablation stand in their own table, which has the model itself as well.
        tables += ablation_tables(group) or [accuracy_table(group)]
    width = shutil.get_terminal_size((NARROW, 24)).columns
    print_to_the_end(printable("\n\n".join(["", *(to_text(table, width=width) for table in tables)])))
    return 0


def _wanted(options: argparse.Namespace) -> tuple[str, str]:
    return options.model, options.data


if __name__ == "__main__":
    exit_with(run_tool(main))
