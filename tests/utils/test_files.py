"""Files are replaced in one step or not at all, and damaged ones are named."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from utils.files import CannotWrite, DamagedFile, read_json, remove_parts, replace_file, write_json, write_json_lines


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_write_that_the_kernel_refuses_is_one_line(tmp_path):
    path = tmp_path / "metrics.json"
    (tmp_path / f".metrics.json.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(CannotWrite) as caught:
        write_json(path, {"mse": 2.0})
    assert "No space left on device" in str(caught.value)
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
