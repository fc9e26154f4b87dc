"""Two processes and one give the same numbers; the first one alone writes and speaks; a failure ends them all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from exp.training.processes import LOST, lost_process
from tests.exp.runs import finish, flags, result, run_folder, start, write_table
from tests.exp.training.two_processes import BATCH, WITHOUT_DROPOUT, gradients, with_negatives

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def launch(command: list[str], **options) -> subprocess.CompletedProcess:
    """A launcher's end and words; it gets two minutes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of two processes' runs, and what each of them found (`two_processes.findings`)."""
    folder = tmp_path_factory.mktemp("two")
    write_table(folder / "table.csv")
    done = launch([*LAUNCH, "-m", "tests.exp.training.two_processes", str(folder)])
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def shown(metrics: dict) -> list[str]:
    """The errors as tables show them."""
    (test,) = metrics["tests"].values()
    entries = [test, metrics["validation"], *test["naive"].values()]
    return [f"{entry[name]:.4f}" for entry in entries for name in ("mse", "mae")]


@pytest.mark.parametrize(("model", "output", "more"), [("DLinear", "results", []), ("BALM", "balm", WITHOUT_DROPOUT)])
def test_two_processes_and_one_of_twice_the_batch_show_the_same_errors(together, tmp_path, model, output, more):
    folder, _ = together
    assert finish(start(flags(tmp_path, *more, model=model), tmp_path / "log")) == 0
    alone, both = (
        json.loads((path / "metrics.json").read_text()) for path in (run_folder(tmp_path), run_folder(folder, output))
    )
    assert both["num_processes"] == 2
    assert shown(alone) == shown(both)
    assert alone["tests"].keys() == both["tests"].keys()
    for name, test in alone["tests"].items():
        assert all(test[count] == both["tests"][name][count] for count in ("num_windows", "num_rows"))


@pytest.mark.parametrize("step", [0, 11])
def test_gradients_are_those_of_one_process_for_the_same_global_batch(together, tmp_path, step):
    """Step 11 is the last of the epoch: its global batch is incomplete and shared unevenly."""
    _, found = together
    alone = gradients(flags(tmp_path, *WITHOUT_DROPOUT, model="BALM"), step=step)
    for rank in (0, 1):
        both = found[rank]["gradients"][str(step)]
        assert set(both) == set(alone)
        for name, expected in alone.items():
            torch.testing.assert_close(torch.tensor(both[name]), torch.tensor(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", [0, 11])
def test_gathered_negatives_give_the_contrastive_gradients_of_one_process(together, tmp_path, step):
    """Every weight's gradient, the temperature's among them; by default each process contrasts its own rows."""
    _, found = together
    alone = gradients(with_negatives(tmp_path), step=step)
    assert "log_tau" in alone
    for rank in (0, 1):
        both = found[rank]["gathered"][str(step)]
        for name, expected in alone.items():
            torch.testing.assert_close(torch.tensor(both[name]), torch.tensor(expected), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_no_row_is_seen_twice_and_none_is_left_out(together, split):
    _, found = together
    first, second = (rank["rows"][split] for rank in found)
    assert not set(first) & set(second)
    assert sorted(first + second) == list(range(len(first) + len(second)))


def test_only_the_first_process_writes(together):
    _, found = together
    assert any(path.endswith(".part") for path in found[0]["written"])
    assert found[1]["written"] == []


def test_a_stop_request_to_one_process_stops_both_and_the_continued_run_is_bit_identical(together):
    folder, found = together
    assert [rank["stopped"][0]["code"] for rank in found] == [130, 130]
    assert "stopped after step 5 of epoch 2" in found[0]["stopped"][0]["err"]
    assert found[1]["stopped"][0]["err"] == ""
    assert [rank["stopped"][1]["code"] for rank in found] == [0, 0]
    assert result(run_folder(folder, "stopped")) == result(run_folder(folder, "undisturbed"))


def test_a_prompt_that_stops_training_halfway_is_no_trouble(together):
    assert [rank["frozen prompt"]["code"] for rank in together[1]] == [0, 0]


def test_running_statistics_are_the_same_in_both_processes(together):
    first, second = (rank["buffers"] for rank in together[1])
    assert first == second
    assert any("running_mean" in name for name in first)


def test_a_folder_that_is_in_use_ends_both_processes_with_one_message(together):
    first, second = (rank["taken"] for rank in together[1])
    assert first["code"] == second["code"] == 1
    assert "is in use by process" in first["err"]
    assert second["err"] == ""


def test_a_full_disk_ends_both_processes_with_one_message(together):
    first, second = (rank["full"] for rank in together[1])
    assert first["code"] == second["code"] == 1
    assert "No space left on device" in first["err"]
    assert second["err"] == ""


def test_an_output_folder_that_not_all_processes_see_is_refused_once(together):
    first, second = (rank["apart"] for rank in together[1])
    assert first["code"] == second["code"] == 1
    assert [first["err"], second["err"]].count("") == 1
    assert "is not the same folder for all processes" in first["err"] + second["err"]


@pytest.mark.parametrize(("case", "words"), [("finished", "holds a finished run"), ("wrong flag", "--nonsense")])
def test_what_cannot_be_run_is_said_once(together, case, words):
    first, second = (rank[case] for rank in together[1])
    assert first["code"] == second["code"] == 2
    assert words in first["err"]
    assert first["err"].count("\n") == 1
    assert second["err"] == ""
    # Connections that last until the interpreter ends may end the other process by a signal.
    assert first["closed"]
    assert second["closed"]


def test_only_the_first_process_prints_the_closing_table(together):
    first, second = (rank["balm"]["out"] for rank in together[1])
    assert "test errors" in first
    assert second == ""


def test_a_process_that_dies_ends_the_run_with_a_message(tmp_path):
    command = [*LAUNCH, "run.py", *flags(tmp_path, *BATCH, "--train_epochs", "100000", "--patience", "100000")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    launcher = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    victim = second_process(launcher.pid, tmp_path / "results")
    os.kill(victim, signal.SIGKILL)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert "error: another process of this run has ended" in said
    assert "Traceback" not in said.split("another process")[0]


@pytest.mark.parametrize(("seconds", "code", "said"), [(60, 0, "reason\n"), (0.1, 130, "")])
def test_sigterm_leaves_a_rank_the_time_to_say_why_the_run_ends_and_no_more(seconds, code, said):
    lines = [
        "import os, signal, time",
        "from exp.training.processes import delay_termination",
        f"delay_termination({seconds})",
        "os.kill(os.getpid(), signal.SIGTERM)",
        f"time.sleep({0.2 if code == 0 else 60})",
        "print('reason')",
    ]
    done = launch([sys.executable, "-c", "\n".join(lines)])
    assert (done.returncode, done.stdout) == (code, said)


def second_process(launcher: int, results: Path) -> int:
    """The number of the launcher's second worker, once training is under way."""
    for _ in range(600):
        if list(results.glob("*/history.jsonl")):
            for process in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
                environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                if b"RANK=1" in environment:
                    return int(process)
        time.sleep(0.1)
    raise TimeoutError("training has not begun")


@pytest.mark.long
def test_accelerate_launch_is_as_good_as_torchrun(together, tmp_path):
    folder, _ = together
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = launch([*accelerate, "run.py", *flags(tmp_path, *BATCH)])
    assert done.returncode == 0, done.stderr[-3000:]
    by_accelerate, by_torchrun = result(run_folder(tmp_path)), result(run_folder(folder))
    assert by_accelerate["weights"] == by_torchrun["weights"]


def test_a_connection_that_fails_while_processes_look_for_each_other_is_another_process_that_ended(monkeypatch):
    errors = [distributed.DistNetworkError("recv, got 0 bytes"), RuntimeError("Gloo connectFullMesh failed")]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert [lost_process(error) for error in errors] == [LOST, LOST]
    assert lost_process(RuntimeError("shapes do not fit")) is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert [lost_process(error) for error in errors] == [None, None]
