"""How far results differ between batches, threads and processes: `python -m tests.endurance.determinism`.

Prints, for each model, the largest relative difference of a validation or test error of a tiny run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.exp.runs import MODELS, flags, run_folder

ROOT = Path(__file__).resolve().parents[2]
MODELS_MEASURED = ("DLinear", "PatchTST", "BALM", "BALM frozen", "CALF")
EVALUATION_BATCHES = (3, 7, 64)
# Without what each process draws or sees for itself. CALF's match module always has dropout, PatchTST always
# normalises over the batch of a process: two processes are another run than one.
FOR_TWO_PROCESSES = {"DLinear": [], "BALM": ["--dropout", "0", "--gather_negatives"]}
FOR_TWO_PROCESSES["BALM frozen"] = FOR_TWO_PROCESSES["BALM"]


@dataclass(frozen=True)
class Measured:
    """Tiny runs of one model in `folder`, each in a process of its own."""

    model: str
    folder: Path

    def run(self, name: str, *more: str, batch: int = 16, threads: int = 1, processes: int = 1) -> list[float]:
        """Every validation error of the history and the test errors."""
        words = flags(self.folder, "--train_epochs", "2", *more, model=self.model, output=name)
        words[words.index("--batch_size") + 1] = str(batch)
        return errors_of(self.folder, name, words, threads=threads, processes=processes)


def errors_of(folder: Path, name: str, words: Sequence[str], *, threads: int, processes: int) -> list[float]:
    """The errors of the run of these flags."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
                   "XDG_CACHE_HOME": str(folder / f"cache-{name}")}  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "run.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-500:]}")
    found = run_folder(folder, name)
    history = [json.loads(line) for line in (found / "history.jsonl").read_text().splitlines()]
    (test,) = json.loads((found / "metrics.json").read_text())["tests"].values()
    return [value for epoch in history for value in epoch["validation"].values()] + [test["mse"], test["mae"]]


def largest_difference(runs: Mapping[int, list[float]]) -> float:
    """The largest relative difference from the first of the runs."""
    first, *others = runs.values()
    return max(abs(a - b) / abs(a) for other in others for a, b in zip(first, other, strict=True))


def main(models: Sequence[str]) -> int:
    """Run and print a line for each model."""
    MODELS.setdefault("PatchTST", [])
    for model in models or MODELS_MEASURED:
        with tempfile.TemporaryDirectory() as name:
            measured = Measured(model, Path(name))
            batches = {n: measured.run(f"batch-{n}", "--eval_batch_size", str(n)) for n in EVALUATION_BATCHES}
            threads = {n: measured.run(f"threads-{n}", threads=n) for n in (1, 2)}
            more = FOR_TWO_PROCESSES.get(model)
            ranks = (
                {n: measured.run(f"ranks-{n}", *more, batch=16 // n, processes=n) for n in (1, 2)}
                if more is not None
                else {}
            )
        print(
            f"{model:<12} evaluation batches {EVALUATION_BATCHES}: {largest_difference(batches):.0e}, "
            f"1 and 2 threads: {largest_difference(threads):.0e}, 1 process with 16 rows and 2 with 8: "
            f"{f'{largest_difference(ranks):.0e}' if ranks else 'not comparable'}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
