"""Collect finished runs and build docs/verdict/README.md: `python -m utils.verdict --collect FOLDER` or `--check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.verdict.collection import PLACE, collect, read
from utils.verdict.page import build


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if `--check` finds another page than the committed one."""
    parser = argparse.ArgumentParser(prog="python -m utils.verdict", description=__doc__)
    parser.add_argument(
        "--collect", nargs="+", type=Path, default=[], help="folders of run folders whose runs are added"
    )
    parser.add_argument("--check", action="store_true", help="only compare the committed page with the committed runs")
    flags = parser.parse_args(arguments)
    page = PLACE / "README.md"
    if flags.collect:
        print(f"{collect(flags.collect)} runs added to {PLACE / 'results.csv'}")
    text = build(read())
    if flags.check:
        if text != page.read_text():
            print(f"{page} does not follow from the committed runs: run `python -m utils.verdict`")
            return 1
        print("the page follows from the committed runs")
        return 0
    page.write_text(text)
    print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
