"""A queue of runs from script files."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from exp.grid import commands, finished
from exp.grid.__main__ import main, queue, slurm_script
from exp.grid.commands import GridRun, commands_of_script, runs_of_scripts
from exp.grid.live_table import LiveTable, summary
from exp.grid.queue import Job, run_queue
from tests.exp.small_runs import table
from utils.run_folder import FORMAT

FLAGS = "--model DLinear --data demo --seq_len 24"


def script(folder: Path, *lines: str, name: str = "runs.sh") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def loop(folder: Path, flags: str = FLAGS) -> Path:
    return script(folder, "for h in 4 8; do", f'  python run.py {flags} --pred_len $h "$@"', "done")


def jobs_of(folder: Path, *programs: str) -> list[Job]:
    """Jobs that run small Python programs in place of run.py."""
    (run, *_) = runs_of_scripts([loop(folder)], ["--output_dir", str(folder / "results")])
    return [Job(replace(run, words=("-c", program), name=f"run {number}")) for number, program in enumerate(programs)]


def unseen(_jobs) -> None:
    """Nobody looks at the table."""


def finish(run: GridRun, results: Path) -> None:
    """A finished run folder, as far as the queue looks at one."""
    folder = results / "any name"
    folder.mkdir(parents=True)
    data = run.settings.data
    cell = {"model": run.settings.model_name, "task_name": run.settings.task_name, "data": data.data, "seed": 2021}
    cell |= {name: getattr(data, name) for name in ("seq_len", "pred_len", "percent")}
    tests = {data.data: {"mse": 1.0, "mae": 1.0, "measures": ["mse", "mae"]}}
    (folder / "metrics.json").write_text(json.dumps({"format": FORMAT, **cell, "tests": tests}))
    record = json.loads(json.dumps({"format": FORMAT, **run.settings.record()}))
    record |= {"flag_roles": run.settings.flag_roles()}
    (folder / "config.json").write_text(json.dumps(record))


def test_a_script_is_read_without_running_anything_and_words_stay_whole(tmp_path):
    path = script(tmp_path, 'python run.py --des "two words" "$@"', "touch $1-ran", "python3 run.py --des ''")
    commands = commands_of_script(path, [str(tmp_path / "flag")])
    assert commands == [
        ["run.py", "--des", "two words", str(tmp_path / "flag")],
        ["run.py", "--des", ""],
    ]


def test_each_run_and_seed_is_one_entry_and_extra_flags_reach_all(tmp_path):
    runs = runs_of_scripts([loop(tmp_path)], ["--seeds", "3", "5", "--batch_size", "16"])
    assert [run.name for run in runs] == [f"DLinear demo 24>{h} seed {s}" for h in (4, 8) for s in (3, 5)]
    assert {run.settings.train.batch_size for run in runs} == {16}
    assert runs[1].words[-2:] == ("--seed", "5") and "--seeds" not in runs[1].words


def test_the_same_run_of_two_scripts_is_queued_once(tmp_path):
    assert len(runs_of_scripts([loop(tmp_path), loop(tmp_path)])) == 2


def test_runs_with_the_same_name_are_told_apart_by_the_flags_that_differ(tmp_path):
    path = script(tmp_path, f"python run.py {FLAGS}", f"python run.py {FLAGS} --learning_rate 0.5 --patience 10")
    assert [run.name for run in runs_of_scripts([path])] == [
        "DLinear demo 24>96 seed 2021",
        "DLinear demo 24>96 seed 2021 learning_rate=0.5",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("python run.py --model DLinear --pred_len 0", "--pred_len must be at least 1"),
        ("accelerate launch run.py", "a queue takes `python run.py` only"),
        ("exit 3", "exit code 3"),
        ("python run.py --help", "asks for help"),
        ("sleep 9", "takes longer than 0.2 s"),
    ],
)
def test_a_script_that_cannot_be_queued_is_named_with_its_reason_and_nothing_runs(
    tmp_path, capsys, monkeypatch, line, message
):
    if line.startswith("sleep"):
        monkeypatch.setattr(commands, "_SECONDS_PER_SCRIPT", 0.2)
    path = script(tmp_path, line)
    assert main(["--scripts", str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and message in error


@pytest.mark.parametrize("flags", ["5", "null", "", "[1]", "[" * 5000, '["--help"]', '["--model", "Nobody"]'])
def test_a_csv_of_finished_runs_with_other_contents_is_refused_in_one_line(tmp_path, capsys, flags):
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["flags"], [flags]])
    assert main(["--scripts", str(loop(tmp_path)), "--finished", str(tmp_path / "runs.csv"), "--list"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("place", ["slurm", "output_dir"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys, place):
    (tmp_path / "file").touch()
    extra = ["--slurm", str(tmp_path / "none" / "x")] if place == "slurm" else []
    command = ["--scripts", str(loop(tmp_path)), *extra, "--", "--output_dir", str(tmp_path / "file")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(tmp_path) in error and error.count("\n") == 1


def test_a_missing_script_and_a_wrong_number_of_jobs_are_refused(tmp_path, capsys):
    assert main(["--scripts", str(tmp_path / "nowhere.sh")]) == 2
    assert main(["--scripts", str(loop(tmp_path)), "--jobs", "0"]) == 2
    error = capsys.readouterr().err
    assert "nowhere.sh is missing" in error and "--jobs must be at least 1, got 0" in error


def test_a_finished_run_is_skipped_wherever_its_data_lie_and_run_again_with_overwrite(tmp_path):
    results = ["--output_dir", str(tmp_path / "results")]
    path = loop(tmp_path)
    finish(runs_of_scripts([path], [*results, "--root_path", "dataset"])[0], tmp_path / "results")
    metrics = tmp_path / "results" / "any name" / "metrics.json"
    content = metrics.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"{}"):
        metrics.write_bytes(damaged)
        assert [job.state for job in queue(runs_of_scripts([path], results))] == ["waiting", "waiting"]
    metrics.write_bytes(content)
    states = [job.state for job in queue(runs_of_scripts([path], results))]
    assert states == ["already finished", "waiting"]
    assert {job.state for job in queue(runs_of_scripts([path], [*results, "--overwrite"]))} == {"waiting"}
    other = runs_of_scripts([path], [*results, "--learning_rate", "0.5"])
    assert {job.state for job in queue(other)} == {"waiting"}


def test_a_run_whose_own_table_has_changed_since_is_not_finished(tmp_path):
    results = ["--output_dir", str(tmp_path / "results")]
    table(200).to_csv(tmp_path / "my.csv", index=False)
    flags = f"--model DLinear --data custom --data_path {tmp_path / 'my.csv'} --seq_len 24 --pred_len 4 --fast_dev_run"
    path = script(tmp_path, f'python run.py {flags} "$@"')
    (job,) = queue(runs_of_scripts([path], results))
    assert run_queue([job], num_jobs=1, gpus=[], show=unseen)

    def state(num_rows: int) -> str:
        """The state of the run with a table of so many rows."""
        table(num_rows).to_csv(tmp_path / "my.csv", index=False)
        finished._sha256_of.cache_clear()
        (job,) = queue(runs_of_scripts([path], results))
        return job.state

    assert (state(200), state(201)) == ("already finished", "waiting")
    assert run_queue(queue(runs_of_scripts([path], results)), num_jobs=1, gpus=[], show=unseen)
    # Both are finished now, under the same flags.
    assert (state(200), state(201), state(202)) == ("already finished", "already finished", "waiting")
    (tmp_path / "my.csv").unlink()
    assert [found.state for found in queue(runs_of_scripts([path], results))] == ["already finished"]


def test_no_name_of_a_run_moves_the_cursor(tmp_path, capsys):
    jobs = jobs_of(tmp_path, "pass")
    jobs[0].run = replace(jobs[0].run, name="a\x1b[31mred")
    assert run_queue(jobs, num_jobs=1, gpus=[], show=LiveTable())
    assert "\x1b" not in capsys.readouterr().out
    path = script(tmp_path, "python run.py --model DLinear --data custom --data_path $'/none/\\x1b[31mred.csv'")
    assert main(["--scripts", str(path)]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "red.csv is missing" in error


def test_a_crash_stops_only_itself_and_its_last_words_are_shown(tmp_path):
    jobs = jobs_of(tmp_path, "print(1)", "raise SystemExit('boom')", "print(3)")
    assert not run_queue(jobs, num_jobs=1, gpus=[], show=unseen)
    assert [job.state for job in jobs] == ["finished", "failed", "finished"]
    assert jobs[1].last_line() == "boom"
    assert summary(jobs) == "3 runs: 2 finished, 1 failed"


def test_a_run_that_finds_itself_finished_is_no_failure(tmp_path):
    jobs = jobs_of(tmp_path, "raise SystemExit('x holds a finished run of exactly these flags')")
    assert run_queue(jobs, num_jobs=1, gpus=[], show=unseen)


def test_slots_share_out_the_gpus_and_run_at_the_same_time(tmp_path):
    meet = "import os, pathlib, time; pathlib.Path({0!r}, str(os.getpid())).touch()\n"
    meet += "while len(os.listdir({0!r})) < 2: time.sleep(0.01)\n"
    meet += "print(os.environ['CUDA_VISIBLE_DEVICES'])"
    (tmp_path / "met").mkdir()
    jobs = jobs_of(tmp_path, *[meet.format(str(tmp_path / "met"))] * 2)
    assert run_queue(jobs, num_jobs=2, gpus=["4", "7"], show=unseen)
    assert [job.last_line() for job in jobs] == ["4", "7"]


def test_an_interrupt_reaches_the_runs_and_waits_for_them(tmp_path):
    program = "import signal, time\ntry:\n print('ready', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt:\n"
    program += " print('state saved')\n raise SystemExit(130)"
    jobs = jobs_of(tmp_path, program, "print('never')")

    def interrupt_when_ready(jobs):
        if jobs[0].state == "running" and jobs[0].last_line() == "ready":
            os.kill(os.getpid(), signal.SIGINT)

    # A shell starts what runs in its background with this signal ignored, the tests too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_queue(jobs, num_jobs=1, gpus=[], show=interrupt_when_ready)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [job.state for job in jobs] == ["interrupted", "waiting"]
    assert jobs[0].last_line() == "state saved"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_is_drawn_over_itself_on_a_terminal_and_is_a_line_a_change_elsewhere(tmp_path, monkeypatch):
    jobs = jobs_of(tmp_path, "", "")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        monkeypatch.setattr(sys, "stdout", stream)
        table = LiveTable()
        for state in ("running", "running", "failed"):
            jobs[0].state = state
            table(jobs)
    assert terminal.getvalue().count("\x1b[3A") == 2
    assert [line.split()[0] for line in file.getvalue().splitlines()] == ["running", "failed"]


def test_the_slurm_array_has_one_task_a_run_and_bash_reads_it(tmp_path):
    runs = runs_of_scripts([loop(tmp_path)], ["--des", "it's"])
    path = script(tmp_path, slurm_script(runs, num_jobs=3, with_gpu=True), name="array.sh")
    text = path.read_text()
    assert "#SBATCH --array=0-1%3" in text and "#SBATCH --gpus=1" in text
    (tmp_path / "run.py").write_text("import sys; print(sys.argv[1:])")
    (tmp_path / "python").symlink_to(sys.executable)
    done = subprocess.run(
        ["bash", str(path)], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "1", "SLURM_SUBMIT_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == str([*FLAGS.split(), "--pred_len", "8", "--des", "it's"])


def test_every_script_of_the_project_can_be_queued():
    root = Path(__file__).parents[3]
    scripts = sorted(root.glob("scripts_*/DLinear_*.sh"))[:2] + sorted(root.glob("scripts_ablation/*.sh"))[:1]
    runs = runs_of_scripts(scripts)
    assert len({run.name for run in runs}) == len(runs) > 0
    assert all(asdict(run.settings.train)["seeds"] == [] for run in runs)


def test_a_run_that_was_killed_says_so(tmp_path):
    jobs = jobs_of(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert not run_queue(jobs, num_jobs=1, gpus=[], show=unseen)
    assert (jobs[0].state, jobs[0].last_line()) == ("failed", "killed by SIGKILL (out of memory?)")


def test_a_run_is_told_which_process_it_must_not_outlive(tmp_path):
    jobs = jobs_of(tmp_path, "import os; print(os.environ['FORECAST_PARENT'])")
    assert run_queue(jobs, num_jobs=1, gpus=[], show=unseen)
    assert jobs[0].last_line() == str(os.getpid())


def test_data_and_models_that_are_missing_are_named_once_and_nothing_starts(tmp_path, capsys):
    lines = [f"python run.py --model DLinear --data ETTh1 --root_path {tmp_path} --pred_len {h}" for h in (4, 8)]
    llm = f"python run.py --model BALM --data demo --llm_model {tmp_path / 'nowhere'}"
    assert main(["--scripts", str(script(tmp_path, *lines, llm)), "--", "--output_dir", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert "python -m data_provider.download ETTh1" in error and "(2 of 3 runs need it)" in error
    assert "--llm_model" in error and "(1 of 3 runs need it)" in error
    assert not (tmp_path / "results").exists()


def test_control_characters_of_a_script_reach_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, f"python run.py {FLAGS} --des $'\\e[31mred'", f"python run.py {FLAGS} --des plain")
    assert main(["--scripts", str(path), "--list"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown
