"""One process at a time in a folder, and a dead owner is no owner."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from utils import lock
from utils.lock import FolderLock, start_time


def hold(folder, held) -> None:
    with FolderLock(folder):
        held.set()
        time.sleep(60)


@pytest.fixture
def owner(tmp_path):
    """A process that holds the lock of `tmp_path`."""
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


def leave(folder, **owner) -> None:
    """A lock file as a process leaves it that was killed."""
    (folder / "lock.json").write_text(json.dumps(owner))


def test_a_second_process_is_told_who_holds_the_folder(tmp_path, owner):
    with (
        pytest.raises(BlockingIOError, match=f"is in use by process {owner.pid} on this machine"),
        FolderLock(tmp_path),
    ):
        pass
    assert owner.is_alive()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, owner):
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert (tmp_path / "lock.json").exists()
    with FolderLock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def test_a_folder_can_be_taken_again_after_its_release(tmp_path):
    for _ in range(2):
        with FolderLock(tmp_path):
            pass


def test_a_process_that_has_the_number_of_a_dead_owner_is_not_it(tmp_path):
    """Without the kernel's lock the start time tells a reused process number."""
    leave(tmp_path, host=socket.gethostname(), process=os.getppid(), started="1")
    with FolderLock(tmp_path):
        pass


def test_a_living_owner_is_believed_where_the_kernel_has_no_locks(tmp_path):
    leave(tmp_path, host=socket.gethostname(), process=os.getppid(), started=start_time(os.getppid()))
    with pytest.raises(BlockingIOError, match=f"process {os.getppid()} on this machine"), FolderLock(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": "x"}'])
def test_a_lock_that_says_nothing_has_no_owner(tmp_path, content):
    (tmp_path / "lock.json").write_text(content)
    with FolderLock(tmp_path):
        pass


def test_an_owner_on_another_machine_is_believed_while_it_gives_signs_of_life(tmp_path):
    leave(tmp_path, host="elsewhere", process=7, started="1")
    with (
        pytest.raises(BlockingIOError, match="process 7 on elsewhere, which gave a sign of life"),
        FolderLock(tmp_path),
    ):
        pass
    ago = time.time() - lock.SECONDS_UNTIL_STALE - 5
    os.utime(tmp_path / "lock.json", (ago, ago))
    with FolderLock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["host"] == socket.gethostname()


def test_an_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SECONDS_BETWEEN_SIGNS", 0.02)
    with FolderLock(tmp_path):
        os.utime(tmp_path / "lock.json", (0, 0))
        for _ in range(100):
            time.sleep(0.02)
            if (tmp_path / "lock.json").stat().st_mtime > 1:
                break
        assert (tmp_path / "lock.json").stat().st_mtime > 1


def test_a_refusal_leaves_no_file_behind(tmp_path):
    leave(tmp_path, host="elsewhere", process=7, started="1")
    with pytest.raises(BlockingIOError), FolderLock(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock.json"]
