"""Files are replaced in one step or not at all, and damaged ones are named."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from utils import files
from utils.files import (
    CannotWrite,
    DamagedFile,
    locked,
    read_json,
    remove_parts,
    replace_file,
    write_json,
    write_json_lines,
)


def no_space(handle: int) -> None:  # noqa: ARG001
    raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json(path, {"mse": 1.0})
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CannotWrite, match=r"metrics\.json cannot be written \(No space left on device\)"):
        write_json(path, {"mse": 2.0})
    assert read_json(path) == {"mse": 1.0}
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_the_kernel_refuses_is_one_line(tmp_path):
    path = tmp_path / "metrics.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        with pytest.raises(CannotWrite) as caught:
            write_json(path, {"mse": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.exists()


def test_a_removed_folder_is_an_error_and_not_made_again(tmp_path):
    with pytest.raises(CannotWrite, match="No such file or directory"):
        replace_file(tmp_path / "removed" / "metrics.json", b"{}")
    assert not (tmp_path / "removed").exists()


def test_an_interrupt_leaves_nothing_beside_the_file(tmp_path, monkeypatch):
    def interrupt(handle: int) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_half_a_file(tmp_path):
    """`history.jsonl` can be followed live: every look at it finds whole lines, and never fewer than before."""
    path, lengths, done = tmp_path / "history.jsonl", [], threading.Event()
    write_json_lines(path, [])

    def follow() -> None:
        while not done.is_set():
            lengths.append(len([json.loads(line) for line in path.read_text().splitlines()]))

    reader = threading.Thread(target=follow)
    reader.start()
    for count in range(1, 60):
        write_json_lines(path, [{"epoch": epoch, "words": "x" * 500} for epoch in range(count)])
    done.set()
    reader.join()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"mse": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_lines(tmp_path / "file", [{"mse": value}])
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2", b"[" * 100_000])
def test_a_damaged_json_file_is_named(tmp_path, content):
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"metrics\.json is not a readable JSON file"):
        read_json(tmp_path / "metrics.json")


def test_only_what_killed_writers_left_is_removed(tmp_path):
    for name in (".last.safetensors.12.part", "last.safetensors", ".hidden", "notes.part"):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "last.safetensors", "notes.part"]


def hold(path: Path, held) -> None:
    with locked(path):
        held.set()
        time.sleep(60)


@pytest.fixture
def owner(tmp_path):
    """A process that holds the lock `tmp_path / "lock"`."""
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "lock", held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.fixture
def short_lease(monkeypatch):
    monkeypatch.setattr(files, "SECONDS_UNTIL_FREE", 0.6)
    monkeypatch.setattr(files, "SECONDS_BETWEEN_RENEWALS", 0.2)


def leave_lock(path: Path, *, host: str, pid: int = 7) -> None:
    """A lock as its owner leaves it when it is killed."""
    path.write_text(
        f"filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=a\nduration={files.SECONDS_UNTIL_FREE!r}\nstart=1\n"
    )


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, owner):
    with (
        pytest.raises(BlockingIOError, match=f"in use by process {owner.pid} on {socket.gethostname()}"),
        locked(tmp_path / "lock"),
    ):
        pass
    assert owner.is_alive()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, owner):
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert (tmp_path / "lock").exists()
    began = time.monotonic()
    with locked(tmp_path / "lock"):
        assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()
    assert time.monotonic() - began < files.SECONDS_UNTIL_FREE / 2
    assert not (tmp_path / "lock").exists()


def test_a_lock_can_be_taken_again_after_its_release(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "lock"):
            pass


@pytest.mark.parametrize("content", ["{", "filelock/2\npid=x\n"])
def test_a_damaged_lock_file_is_free(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path / "lock"):
        pass


@pytest.mark.usefixtures("short_lease")
def test_an_empty_lock_file_is_named_as_what_to_remove(tmp_path):
    """It may be of a process that is about to write it, or be left over from a power cut."""
    (tmp_path / "lock").touch()
    with pytest.raises(BlockingIOError, match=r"if there is none, remove .*/lock"), locked(tmp_path / "lock"):
        pass


@pytest.mark.usefixtures("short_lease")
def test_the_lock_of_another_machine_is_free_when_it_is_no_longer_renewed(tmp_path):
    leave_lock(tmp_path / "lock", host="elsewhere")
    began = time.monotonic()
    with locked(tmp_path / "lock"):
        assert time.monotonic() - began >= 0.6
        assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()


def test_the_lock_of_another_machine_is_kept_while_it_is_renewed(tmp_path):
    leave_lock(tmp_path / "lock", host="elsewhere")
    renewal = threading.Timer(0.5, os.utime, [tmp_path / "lock"])
    renewal.start()
    with (
        pytest.raises(BlockingIOError, match="in use by process 7 on elsewhere"),
        locked(tmp_path / "lock"),
    ):
        pass
    assert "host=elsewhere" in (tmp_path / "lock").read_text()


def test_what_a_killed_writer_left_is_swept_by_the_next_one(tmp_path):
    dead = multiprocessing.get_context("forkserver").Process(target=int)
    dead.start()
    dead.join()
    host = files.owner_mark().partition("-")[0]
    left = tmp_path / f".file.{host}-{dead.pid}.part"
    alive = tmp_path / f".file.{host}-{os.getppid()}.part"
    elsewhere = tmp_path / ".file.00000000-7.part"
    for path in (left, alive, elsewhere):
        path.touch()
    replace_file(tmp_path / "file", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["file", alive.name, elsewhere.name])
    os.utime(elsewhere, (0, 0))
    replace_file(tmp_path / "file", b"new")
    assert not elsewhere.exists()


def test_a_link_in_the_place_of_the_half_file_is_not_written_through(tmp_path):
    (tmp_path / "outside").write_text("kept")
    (tmp_path / f".file.{files.owner_mark()}.part").symlink_to(tmp_path / "outside")
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "outside").read_text() == "kept" and (tmp_path / "file").read_bytes() == b"new"


def test_a_link_is_replaced_and_never_written_through(tmp_path):
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "file").symlink_to(tmp_path / "outside")
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "outside").read_text() == "kept" and not (tmp_path / "file").is_symlink()


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "outside")
    with contextlib.suppress(OSError), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "outside").read_text() == "kept"


@pytest.mark.usefixtures("short_lease")
def test_the_lock_of_another_machine_with_a_time_in_the_future_is_free_like_any_other(tmp_path):
    leave_lock(tmp_path / "lock", host="elsewhere")
    os.utime(tmp_path / "lock", (4e9, 4e9))
    with locked(tmp_path / "lock"):
        assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()


def test_the_lock_that_a_dead_process_left_in_a_finished_run_is_removed(tmp_path, owner):
    files.remove_stale_lock(tmp_path / "lock")
    assert (tmp_path / "lock").exists()
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    files.remove_stale_lock(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_the_file_before_is_kept_once_and_leaves_nothing_beside(tmp_path):
    """Killed between the two steps of a save, a run finds both names on one file."""
    path, previous = tmp_path / "last", tmp_path / "previous"
    path.write_text("1")
    for _ in range(2):
        files.keep_previous(path, previous)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["last", "previous"]
    files.replace_file(path, b"2")
    assert previous.read_text() == "1"
