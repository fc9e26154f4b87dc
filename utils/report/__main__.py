"""One self-contained HTML page about all runs of a folder: `python -m utils.report RESULTS_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from utils.files import replace_file
from utils.report.page import page
from utils.report.run_data import Shown, run_entry
from utils.report.table import Table, to_html
from utils.results import Results, collect, left_out_lines

# Tables that are looked up rather than read start closed.
FOLDED = ("Published: ", "Cost: ")


def report_page(results: Results, title: str, shown: Shown) -> str:
    """The page's text: tables, then one run at a time with curves, forecasts, errors and alignment."""
    by_folder = {row["folder"]: row["name"] for row in results.rows}
    named = [(run, by_folder[str(run.folder.path)]) for run in results.runs if str(run.folder.path) in by_folder]
    named.sort(key=lambda item: (bool(item[0].labels), item[0].data, item[0].metrics["pred_len"], item[1].lower()))
    entries = [run_entry(run, name, shown) for run, name in named]
    paper = [table for table in results.tables if not table.warning]
    others = [table for table in results.tables if table.warning]
    parts = [
        f"<p class='lead'>{escape(_summary(results))}</p>",
        "<nav>",
        "<a href='#results'>Results</a>" if paper else "",
        "<a href='#not-results'>Not paper results</a>" if others else "",
        "<a href='#runs'>Look into a run</a></nav>",
        _tables_section("results", "Results", paper),
        _tables_section("not-results", "Not paper results", others),
        "<section id='runs'><h2>Look into a run</h2><div id='explorer'><noscript><p>The charts need JavaScript; "
        "the tables above do not.</p></noscript></div></section>",
    ]
    scripts = ["charts.js", "report.js"]
    return page(title, "".join(parts), left_out=left_out_lines(results), data={"runs": entries}, scripts=scripts)


def _summary(results: Results) -> str:
    rows = results.rows
    models, data = sorted({row["name"] for row in rows}), sorted({row["data"] for row in rows})
    num_labelled = sum(bool(row["labels"]) for row in rows)
    text = f"{len({row['folder'] for row in rows})} runs of {', '.join(models)} on {', '.join(data)}."
    return text + (f" {num_labelled} of {len(rows)} results are no paper results." if num_labelled else "")


def _tables_section(anchor: str, title: str, tables: Sequence[Table]) -> str:
    if not tables:
        return ""
    parts = []
    for table in tables:
        html = to_html(table)
        if table.title.startswith(FOLDED):
            html = f"<details><summary>{escape(table.title)}</summary>{html}</details>"
        parts.append(html)
    return f"<section id='{anchor}'><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m utils.report", description=__doc__)
    parser.add_argument("results_dir", type=Path, help="folder that holds the run folders (searched at any depth)")
    parser.add_argument("--output", type=Path, help="the page to write (default: RESULTS_DIR/report.html)")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--channels", nargs="+", default=(), help="names of the channels whose forecasts are shown")
    parser.add_argument("--max_channels", type=int, default=8, help="forecasts: channels per run without --channels")
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
            if getattr(options, flag) < 1:
                raise ValueError(f"--{flag} must be at least 1, got {getattr(options, flag)}")
        results = collect(root, options.compare)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in left_out_lines(results):
        print(f"left out: {line}", file=sys.stderr)
    if not results.runs:
        print(f"error: {root} holds no run that could be read", file=sys.stderr)
        return 1
    shown = Shown(options.max_channels, options.max_windows, tuple(options.channels))
    text = report_page(results, options.title or f"Forecasting runs in {root.resolve().name}", shown)
    path = options.output or root / "report.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {len(results.runs)} runs, {len(text.encode()) / 2**20:.1f} MiB; open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
