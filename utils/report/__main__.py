"""One self-contained HTML page about all runs of a folder: `python -m utils.report RESULTS_DIR`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.files import replace_file
from utils.report.pages.overview import overview_cards
from utils.report.pages.page import page
from utils.report.pages.run_data import run_entries
from utils.report.pages.sample_forecasts import Shown
from utils.report.result_groups import result_groups
from utils.report.result_rows import measures_of, naive_rows
from utils.results import Results, collect_or_complain, left_out_lines
from utils.terminal import one_line


def report_page(results: Results, title: str, shown: Shown) -> str:
    """The page's text: tables, then one run at a time with forecasts, curves, errors and alignment."""
    by_folder = dict(zip(results.rows["folder"], results.rows["name"], strict=True))
    named = [(by_folder[str(run.folder.path)], run) for run in results.runs if str(run.folder.path) in by_folder]
    named.sort(key=lambda item: (bool(item[1].labels), item[1].data, item[1].metrics["pred_len"], item[0].lower()))
    entries = run_entries(named, shown)
    groups = result_groups(results.rows, naive_rows(results.runs), measures_of(results.runs))
    cards = overview_cards(groups)
    return page(
        title, results.tables, lead=_summary(results), overview=cards, runs=entries, left_out=left_out_lines(results)
    )


def _summary(results: Results) -> str:
    rows = results.rows
    models, data = sorted(rows["name"].unique()), sorted(rows["data"].unique())
    num_labelled = (rows["labels"] != "").sum()
    text = f"{rows['folder'].nunique()} runs of {', '.join(models)} on {', '.join(data)}."
    return text + (f" {num_labelled} of {len(rows)} results are no paper results." if num_labelled else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m utils.report", description=__doc__)
    parser.add_argument("results_dir", type=Path, help="folder that holds the run folders (searched at any depth)")
    parser.add_argument("--output", type=Path, help="the page to write (default: RESULTS_DIR/report.html)")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--channels", nargs="+", default=(), help="names of the channels whose forecasts are shown")
    parser.add_argument(
        "--max_channels",
        type=int,
        help="forecasts: channels per run without --channels (default: 8, fewer for long horizons)",
    )
    parser.add_argument("--max_windows", type=int, default=4, help="forecasts: windows per run")
    parser.add_argument(
        "--compare", nargs=2, metavar=("MODEL", "MODEL"), default=(), help="adds a paired test of two models"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 1 if nothing could be read."""
    options = _parser().parse_args(arguments)
    root: Path = options.results_dir
    try:
        for flag in ("max_channels", "max_windows"):
            value = getattr(options, flag)
            if value is not None and value < 1:
                raise ValueError(f"--{flag} must be at least 1, got {value}")
    except ValueError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    results = collect_or_complain(root, options.compare)
    if results is None:
        return 1
    shown = Shown(options.max_channels, options.max_windows, tuple(options.channels))
    text = report_page(results, options.title or f"Forecasting runs in {root.resolve().name}", shown)
    path = options.output or root / "report.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode(errors="backslashreplace"))
    except OSError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    print(f"{one_line(str(path))}: {len(results.runs)} runs, {size}; open it in a browser")
    return 0


if __name__ == "__main__":
    exit_with(run_tool(main))
