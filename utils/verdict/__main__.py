"""Collect finished runs and build docs/verdict and the README's part: `python -m utils.verdict [--collect FOLDER]`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.files import replace_file
from utils.terminal import one_line
from utils.verdict.collection import PLACE, RESULTS, collect, read
from utils.verdict.pages.main_table import ROOT
from utils.verdict.pages.page import CAPTIONS, files
from utils.verdict.pages.readme import README, filled_in


def main(arguments: Sequence[str]) -> int:
    """Exit code: 1 if `--check` finds other files than the committed ones, 2 for a folder that is not there."""
    parser = argparse.ArgumentParser(prog="python -m utils.verdict", description=__doc__)
    parser.add_argument(
        "--collect", nargs="+", type=Path, default=[], help="folders of run folders whose runs are added"
    )
    parser.add_argument("--check", action="store_true", help="only compare the committed files with the committed runs")
    flags = parser.parse_args(arguments)
    if flags.check and flags.collect:
        parser.error("--check changes nothing: give --collect in a command of its own")
    try:
        return _check() if flags.check else _build(flags.collect)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


def _build(folders: Sequence[Path]) -> int:
    if folders:
        outcome = collect(folders)
        for line in outcome.left_out:
            print(f"left out: {one_line(line)}")
        print(f"{PLACE / RESULTS}: {outcome.added} runs added, {outcome.replaced} replaced")
    wanted = _wanted()
    for path, content in wanted.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, content)
    print(f"wrote {_names(wanted)}")
    return 0


def _check() -> int:
    wanted = _wanted()
    committed = {path: path.read_bytes() if path.is_file() else None for path in wanted}
    # A file that is not written any more is named as well.
    wrong = {path: content or b"" for path, content in wanted.items() if committed[path] != content}
    if wrong:
        print(f"{_names(wrong)} do not follow from the committed runs: run `python -m utils.verdict`")
        return 1
    print(f"{_names(wanted)} follow from the committed runs")
    return 0


def _wanted() -> dict[Path, bytes | None]:
    """Every file that is written, and its content; None for a picture with nothing to show."""
    collected = read()
    found = files(collected)
    pages = {PLACE / name: found.get(name) for name in (*found, *CAPTIONS)}
    return {**pages, README: filled_in(README.read_text(encoding="utf-8"), collected).encode()}


def _names(paths: Mapping[Path, bytes | None]) -> str:
    """The files with a content, by their names in the repository."""
    return ", ".join(str(path.relative_to(ROOT)) for path, content in paths.items() if content is not None)


if __name__ == "__main__":
    exit_with(run_tool(lambda: main(sys.argv[1:])))
