"""A wandb run is continued and not doubled: one id, each epoch once, however often the run was stopped."""

from __future__ import annotations

import importlib.util
import signal

import pytest

from tests.exp.runs import finish, flags, run_folder, start, stop_at_step
from tests.utils.wandb_file import history_of, records_of

if importlib.util.find_spec("wandb") is None:
    pytest.skip("wandb is not installed", allow_module_level=True)

OFFLINE = {"WANDB_MODE": "offline"}


def test_a_stopped_and_continued_run_is_one_wandb_run_with_each_epoch_once(tmp_path):
    command = flags(tmp_path, "--track", "wandb")
    log = tmp_path / "log"
    assert (
        finish(start(["--checkpoint_steps", "2", *command], log, stop_at_step(3, signal.SIGINT), environment=OFFLINE))
        == 130
    )
    assert finish(start(command, log, environment=OFFLINE)) == 0, log.read_text()
    parts = sorted(run_folder(tmp_path).glob("wandb/offline-run-*"))
    assert len({part.name.split("-", 3)[3] for part in parts}) == 1
    rows = [row for part in parts for file in part.glob("*.wandb") for row in history_of(records_of(file))]
    assert [row["epoch"] for row in rows if "validation/mse" in row] == [1, 2, 3]
    said = [line.rpartition(" ")[2] for line in log.read_text().splitlines() if "wandb sync" in line]
    (pattern,) = (path for path in said if "*" in path)
    assert sorted(run_folder(tmp_path).glob(pattern.partition(f"{run_folder(tmp_path)}/")[2])) == parts
