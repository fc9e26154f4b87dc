"""The whole of it, with counts: `python -m tests.endurance [--kills 100] [--inputs 20000] [--only kills damage ...]`.

Ends with exit code 1 if a run was lost, diverged, believed a damaged file or ended in a traceback.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.endurance.counts import Counts
from tests.endurance.damage import damage_every_file
from tests.endurance.hostile import feed_hostile_inputs
from tests.endurance.kills import SET_UPS, kill_set_up

PARTS = ("kills", "damage", "inputs")


def parts(options: argparse.Namespace) -> list[tuple[str, Callable[[Path], Counts]]]:
    """Name -> what is done in an empty folder, for every part that was asked for."""
    chosen: list[tuple[str, Callable[[Path], Counts]]] = []
    if "kills" in options.only:
        for name in options.set_ups:
            chosen.append((f"kills, {name}", lambda folder, name=name: kill_set_up(name, folder, options.kills)))
    if "damage" in options.only:
        times = options.damage_times
        chosen.append(("damaged files", lambda folder: damage_every_file(folder, options.seed, times=times)))
    if "inputs" in options.only:
        chosen.append(("hostile inputs", lambda folder: feed_hostile_inputs(folder, options.inputs, options.seed)))
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts one after the other; a line for each, as it ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills of each set-up")
    parser.add_argument("--inputs", type=int, default=20_000, help="mutated tables, flags, headers and folders")
    parser.add_argument("--damage_times", type=int, default=4, help="damages of each random sort of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--set_ups", nargs="+", choices=list(SET_UPS), default=list(SET_UPS))
    options = parser.parse_args(arguments)
    failed = False
    for name, run in parts(options):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
            counts = run(Path(folder))
        print(f"{name:<28} {counts} ({time.monotonic() - began:.0f} s)", flush=True)
        # Of each sort one: they differ in their numbers.
        for problem in list({re.sub(r"\d+", "#", problem): problem for problem in counts.problems}.values())[:40]:
            print(f"    {problem}", flush=True)
        failed |= bool(counts.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
