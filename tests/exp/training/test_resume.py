"""A run that is killed anywhere and started again ends bit for bit where an undisturbed one does."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.exp.runs import die_at_write, finish, flags, result, run_folder, start, stop_at_step
from utils.run_folder import RunFolder

MANY_KILLS = 40


@pytest.fixture(scope="module", params=["DLinear", "BALM", "BALM frozen"])
def undisturbed(request, tmp_path_factory):
    """A set-up's name and folder, with the result of its run that nothing disturbed in `undisturbed`."""
    folder = tmp_path_factory.mktemp(request.param)
    assert finish(start(flags(folder, model=request.param, output="undisturbed"), folder / "undisturbed.log")) == 0
    return request.param, folder


def continued(folder: Path, output: str, command: list[str]) -> dict:
    """The result once the command has been started again; a run that was killed after its last file is finished."""
    finished = (folder / output).exists() and (run_folder(folder, output) / "metrics.json").exists()
    assert finished or finish(start(command, folder / f"{output}.log")) == 0, (folder / f"{output}.log").read_text()
    return result(run_folder(folder, output))


def kill_at_random_times(undisturbed, output: str, *, num_kills: int, seed: int, more: list[str]) -> int:
    """Starts and kills the same command until it has been killed often enough; checks the end; returns the kills."""
    model, folder = undisturbed
    command = flags(folder, *more, model=model, output=output)
    chance, kills = random.Random(seed), 0
    for _ in range(num_kills):
        process = start(command, folder / f"{output}.log")
        process.join(chance.uniform(0.05, 2.0))
        if process.is_alive():
            process.kill()
            kills += 1
        if finish(process) == 0:
            break
    assert continued(folder, output, command) == result(run_folder(folder, "undisturbed"))
    return kills


def test_killed_at_random_times_it_ends_bit_identical(undisturbed):
    assert kill_at_random_times(undisturbed, "random", num_kills=3, seed=1, more=["--checkpoint_steps", "2"]) >= 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_many_random_times_it_ends_bit_identical(undisturbed, seed):
    more = ["--checkpoint_steps", "1"] if seed % 2 else []
    for attempt in range(MANY_KILLS // 4):
        kill_at_random_times(undisturbed, f"many-{seed}-{attempt}", num_kills=4, seed=100 * seed + attempt, more=more)


def assert_survives_death_at_write(undisturbed, number: int, *, renamed: bool) -> bool:
    """Whether the run has that many writes; if so it was killed there and its continuation compared."""
    model, folder = undisturbed
    output = f"write-{number}-{renamed}"
    command = flags(folder, "--checkpoint_steps", "4", model=model, output=output)
    died = finish(start(command, folder / f"{output}.log", die_at_write(number, renamed=renamed)))
    if died == 0:
        return False
    assert died == -signal.SIGKILL
    assert continued(folder, output, command) == result(run_folder(folder, "undisturbed"))
    left = [path for path in run_folder(folder, output).rglob("*") if path.name.endswith(".part")]
    assert left == []
    return True


# Writes 2 to 6 are last (step 4), last, best, history and timing of the first epoch.
@pytest.mark.parametrize(("number", "renamed"), [(2, False), (3, True), (4, False), (5, True), (8, False)])
def test_killed_while_a_file_is_written_it_ends_bit_identical(undisturbed, number, renamed):
    assert assert_survives_death_at_write(undisturbed, number, renamed=renamed)


@pytest.mark.long
@pytest.mark.parametrize("renamed", [False, True])
def test_killed_at_every_single_write_it_ends_bit_identical(undisturbed, renamed):
    number = 1
    while assert_survives_death_at_write(undisturbed, number, renamed=renamed):
        number += 1
    assert number > 15


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 2), (signal.SIGTERM, 6)])
def test_a_stop_request_ends_after_the_step_and_says_how_to_go_on(undisturbed, number, step):
    """Step 6 is the last of DLinear's epoch: it is validated after the resume."""
    model, folder = undisturbed
    output = f"stopped-{step}"
    command = flags(folder, model=model, output=output)
    process = start(command, folder / f"{output}.log", stop_at_step(step, number))
    code, said = finish(process), (folder / f"{output}.log").read_text()
    assert code == 130
    assert f"stopped after step {step} of epoch 1; the same command goes on from there" in said
    assert "Traceback" not in said
    assert continued(folder, output, command) == result(run_folder(folder, "undisturbed"))
    seconds = RunFolder(run_folder(folder, output)).read_metrics().get("seconds", {})
    assert seconds["total"] >= seconds["training"] + seconds["test"]
