"""Run one row of a committed CSV again and compare: `python -m exp.replay docs/verdict/results.csv --row RUN_ID`.

The errors are the same to the last digit with the same code, packages and kind of machine. What differs is said; the
errors must then be within the scatter of the seeds.
"""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from exp.grid.finished import words_of
from utils.report.finished_runs import read_runs
from utils.signals import INTERRUPTED, PARENT
from utils.source import ROOT
from utils.terminal import one_line

MEASURES = ("mse", "mae")
COLUMNS = ("run_id", "flags", "seed", "cell", "arm", *MEASURES)
# Facts of the machine that must agree for equal bits.
MACHINE = ("device_name", "precision", "torch_version")


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 if the errors are those of the row, 1 if they are not, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m exp.replay", description=__doc__)
    parser.add_argument("csv", type=Path, help=f"CSV with the columns {', '.join(COLUMNS)}")
    parser.add_argument("--row", required=True, metavar="RUN_ID", help="the row's run_id")
    parser.add_argument("extra", nargs="*", metavar="-- FLAGS", help="flags such as --root_path FOLDER, after --")
    words = list(arguments)
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    try:
        table: Any = pd.read_csv(options.csv, dtype={"code": str})
        lacking = [name for name in COLUMNS if name not in table]
        if lacking:
            raise ValueError(f"{options.csv} has no column {lacking[0]}: it is no CSV of `python -m utils.verdict`")
        rows = table[table["run_id"] == options.row]
        if rows.empty:
            raise ValueError(f"{options.csv} has no run {options.row}: its column run_id says which there are")
        row = rows.iloc[0].to_dict()
        for name in MEASURES:
            if not isinstance(row[name], float) or not math.isfinite(row[name]):
                raise ValueError(f"{options.csv}: {name} of {options.row} should be a number, not {row[name]}")
        command = words_of(str(row["flags"]), f"{options.csv}, {options.row}")
        return _replay(row, command, table, words[split + 1 :])
    except (ValueError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


def _replay(row: dict[str, Any], words: Sequence[str], table: Any, extra: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        # A process of its own, as the row's was: its record names the source files that a run imports, and no others.
        command = [sys.executable, str(ROOT / "run.py"), *words, *extra, "--output_dir", folder]
        environment = {**os.environ, PARENT: str(os.getpid())}
        exit_code = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode
        if exit_code == INTERRUPTED:
            raise KeyboardInterrupt
        if exit_code:
            raise ValueError(f"the run ended with exit code {exit_code}")
        (run,) = read_runs(Path(folder))[0]
        (test,) = run.metrics["tests"].values()
        found = {name: float(test[name]) for name in MEASURES}
        machine = {name: run.metrics.get(name) or run.config.get("versions", {}).get("torch") for name in MACHINE}
        code = (run.config.get("source") or {}).get("hash")
    if all(found[name] == row[name] for name in MEASURES):
        print(f"identical: MSE {found['mse']:.6f}, MAE {found['mae']:.6f}")
        return 0
    noise = _seed_noise(row, table)
    differs = [name for name, value in machine.items() if value != row.get(name)]
    has_other_code = isinstance(row.get("code"), str) and row["code"] != code
    where = f"another machine ({', '.join(differs)})" if differs else "the same kind of machine"
    distance = abs(found["mse"] - row["mse"])
    print(f"MSE {found['mse']:.6f} instead of {row['mse']:.6f} on {where}; seeds scatter by {noise:.6f}")
    if has_other_code:
        print(f"the row's code was another, that of revision {row.get('git_revision')}: check it out to compare digits")
    return 0 if (differs or has_other_code) and distance <= noise else 1


def _seed_noise(row: dict[str, Any], table: Any) -> float:
    """Twice the standard deviation over the seeds of the row's arm and cell; 0 if it has one seed."""
    alike = table[(table["cell"] == row["cell"]) & (table["arm"] == row["arm"])]
    return float(2 * alike["mse"].std()) if len(alike) > 1 else 0.0


if __name__ == "__main__":
    exit_with(run_tool(lambda: main(sys.argv[1:])))
