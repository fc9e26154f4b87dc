"""Run script files as a queue: `python -m exp.grid --scripts scripts_long_term/BALM_*.sh --jobs 2 --gpus 0,1`.

Each run and seed has its own process. Finished runs are skipped, and a run that crashes does not stop the others:
repeat the command until all runs are finished. Flags after `--` go to every run. To share runs between
machines, use Slurm (`--slurm FILE`) or wandb sweeps.
"""

from __future__ import annotations

from utils.signals import INTERRUPTED, end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import os
import shlex
import sys
from collections.abc import Container, Sequence
from pathlib import Path

from exp.grid.commands import GridRun, runs_of_scripts
from exp.grid.finished import FinishedRuns, runs_of_csv
from exp.grid.front_checks import missing_inputs
from exp.grid.live_table import LiveTable, job_lines, summary
from exp.grid.queue import LOGS, Job, run_queue
from utils.files import CannotWrite, replace_file
from utils.terminal import one_line, printable

WRONG_INPUT, FAILED = 2, 1


def slurm_script(runs: Sequence[GridRun], *, num_jobs: int, with_gpu: bool) -> str:
    """A Slurm array job with one task per run, at most `num_jobs` at once; give account and partition to `sbatch`."""
    logs = runs[0].output_dir / LOGS
    lines = [
        "#!/usr/bin/env bash",
        f"# {len(runs)} runs. Submit from the project's root: mkdir -p {shlex.quote(str(logs))} && sbatch THIS_FILE",
        "#SBATCH --job-name=forecast-grid",
        f"#SBATCH --array=0-{len(runs) - 1}%{num_jobs}",
        f"#SBATCH --output={logs}/slurm_%A_%a.log",
        *(["#SBATCH --gpus=1"] if with_gpu else []),
        'cd "$SLURM_SUBMIT_DIR" || exit 1',
        'case "$SLURM_ARRAY_TASK_ID" in',
        *(f"  {number}) exec {shlex.join(['python', *run.words])} ;;" for number, run in enumerate(runs)),
        "esac",
    ]
    return "\n".join(lines) + "\n"


def queue(runs: Sequence[GridRun], also_finished: Container[str] = ()) -> list[Job]:
    """A job per run; a finished run is marked "already finished", unless it has --overwrite.

    `also_finished`: keys of runs that were finished elsewhere.
    """
    finished = FinishedRuns(runs)

    def is_done(run: GridRun) -> bool:
        return not run.settings.train.overwrite and (run.key in also_finished or run in finished)

    return [Job(run, state="already finished" if is_done(run) else "waiting") for run in runs]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m exp.grid", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scripts", nargs="+", type=Path, required=True, help="bash files that start `python run.py`")
    parser.add_argument("--jobs", type=int, help="runs at a time (default: one per GPU of --gpus, else one)")
    parser.add_argument("--gpus", default="", help="GPUs to distribute over the runs, such as 0,1; each run sees one")
    parser.add_argument(
        "--finished", type=Path, metavar="CSV", help="skip the runs of this CSV too (docs/verdict/results.csv)"
    )
    parser.add_argument("--slurm", metavar="FILE", help="write a Slurm array file (- prints it) and run nothing")
    parser.add_argument("--list", action="store_true", help="list the runs and their states, and run nothing")
    parser.add_argument("extra", nargs="*", metavar="-- FLAGS", help="flags for every run, after --")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit code: 0 if every run is finished, 1 if one failed, 2 for wrong input, 130 on Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    split = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:split])
    gpus = [gpu.strip() for gpu in options.gpus.split(",") if gpu.strip()]
    num_jobs = options.jobs if options.jobs is not None else max(1, len(gpus))
    try:
        if num_jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {num_jobs}")
        runs = runs_of_scripts(options.scripts, [*options.extra, *words[split + 1 :]])
        if not runs:
            raise ValueError("--scripts: the files start no run")
        elsewhere = runs_of_csv(options.finished) if options.finished else set()
    except (ValueError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    jobs = queue(runs, elsewhere)
    if options.slurm:
        return _write_slurm(options.slurm, jobs, num_jobs=num_jobs, with_gpu=bool(gpus))
    if options.list:
        print(printable("\n".join([*job_lines(jobs), summary(jobs)])))
        return 0
    missing = missing_inputs([job.run for job in jobs if job.state == "waiting"])
    if missing:
        for line in missing:
            print(f"error: {one_line(line)}", file=sys.stderr)
        return WRONG_INPUT
    return _run(jobs, num_jobs=num_jobs, gpus=gpus)


def _write_slurm(target: str, jobs: Sequence[Job], *, num_jobs: int, with_gpu: bool) -> int:
    runs = [job.run for job in jobs if job.state == "waiting"]
    if not runs:
        print(f"nothing to do: {summary(jobs)}")
        return 0
    text = slurm_script(runs, num_jobs=num_jobs, with_gpu=with_gpu)
    if target == "-":
        print(text, end="")
    else:
        try:
            replace_file(Path(target), text.encode())
        except CannotWrite as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            return FAILED
        print(f"{target}: {len(runs)} runs as a Slurm array ({summary(jobs)})")
    return 0


def _run(jobs: Sequence[Job], *, num_jobs: int, gpus: Sequence[str]) -> int:
    table = LiveTable()
    try:
        all_well = run_queue(jobs, num_jobs=num_jobs, gpus=gpus, show=table)
    except OSError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"interrupted; the same command resumes ({summary(jobs)})", file=sys.stderr)
        return INTERRUPTED
    print(summary(jobs))
    for job in jobs:
        if job.state == "failed":
            print(printable(f"failed: {job.run.name}: {job.last_line()}{os.linesep}  log: {job.log}"), file=sys.stderr)
    return 0 if all_well else FAILED


if __name__ == "__main__":
    exit_with(run_tool(main))
