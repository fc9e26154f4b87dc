"""Atomic file writes, JSON files, and a lock file for a folder."""

from __future__ import annotations

import glob
import json
import logging
import os
import shutil
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import SoftFileLease, Timeout

logger = logging.getLogger(__name__)
PART = ".part"
SECONDS_BETWEEN_RENEWALS = 2.0
SECONDS_UNTIL_FREE = 60.0
SECONDS_OF_A_DAY = 86_400.0


class CannotWrite(OSError):
    """A file could not be written; the old one is unchanged."""


class DamagedFile(OSError):
    """A file exists but is not valid."""


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically (see `replacing`)."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write in the `with` block, which replaces `path` atomically at its end.

    Raises CannotWrite, and keeps the old file, if that fails; any error in the block keeps it too. The folder must
    exist; one that was removed during a run is not created again.
    """
    beside = path.with_name(f".{path.name}.{owner_mark()}{PART}")
    try:
        remove_abandoned_parts(path.parent, of=path.name)
        # Of this process or of one with its number: a link there must not be written through.
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        _remove_quietly(beside)
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror or error}): what was there before is kept; make room or mend "
            "the folder, then give the same command again"
        ) from error
    except BaseException:
        _remove_quietly(beside)
        raise


def owner_mark() -> str:
    """A word for the name of a temporary file, by which `is_abandoned` knows whether its writer is alive."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}-{os.getpid()}"


def is_abandoned(path: Path, mark: str) -> bool:
    """Whether the process that wrote `path` under this mark is dead; on another machine, whether it is a day old."""
    host, _, pid = mark.partition("-")
    try:
        if host == owner_mark().partition("-")[0] and pid.isdecimal():
            os.kill(int(pid), 0)
            return False
        return time.time() - path.lstat().st_mtime > SECONDS_OF_A_DAY
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False


def keep_previous(path: Path, previous: Path) -> None:
    """Give the file at `path`, if there is one, the second name `previous`, so that replacing it does not remove it."""
    beside = previous.with_name(f".{previous.name}.{owner_mark()}{PART}")
    try:
        # Where they are one file already, rename(2) would do nothing and leave `beside`.
        if not path.is_file() or (previous.exists() and path.samefile(previous)):
            return
        beside.unlink(missing_ok=True)
        try:
            os.link(path, beside)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, beside)
        beside.replace(previous)
    except OSError as error:
        _remove_quietly(beside)
        raise CannotWrite(
            f"{previous} cannot be written ({error.strerror or error}): make room or mend the folder"
        ) from error


def move(path: Path, place: Path, *, set_aside: Path) -> None:
    """Move `path` to `place`; what lies there is kept as `set_aside`."""
    try:
        if place.exists():
            place.replace(set_aside)
        path.replace(place)
    except OSError as error:
        raise CannotWrite(f"{place} cannot be written ({error.strerror or error}): mend the folder") from error


def remove_parts(folder: Path) -> None:
    """Remove partial files of interrupted writes from `folder` (not from its subfolders)."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


def remove_abandoned_parts(folder: Path, *, of: str = "") -> None:
    """Remove partial files of dead writers, only those `of` one file if named; living ones may be writing beside."""
    for left in folder.glob(f".{glob.escape(of)}.*{PART}" if of else f".*{PART}"):
        if is_abandoned(left, left.name.removesuffix(PART).rpartition(".")[2]):
            _remove_quietly(left)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the `with` block; works between processes and, on a shared disk, between machines.

    The owner renews the file regularly. Another process that finds it renewed raises a BlockingIOError that names the
    owner. The lock of a dead process is free at once on the same machine, and on others after SECONDS_UNTIL_FREE
    without renewal.
    """
    lock = SoftFileLease(
        path,
        lease_duration=SECONDS_UNTIL_FREE,
        heartbeat_interval=SECONDS_BETWEEN_RENEWALS,
        on_compromise=lambda loss: logger.warning("another process may now write beside this one: %s", loss),
    )
    found = _modified(path)
    try:
        lock.acquire(
            timeout=SECONDS_UNTIL_FREE + SECONDS_BETWEEN_RENEWALS,
            cancel_check=lambda: _modified(path) not in (found, None),
        )
    except Timeout as error:
        owner = lock.owner
        by = f"an unknown process (if there is none, remove {path})"
        if owner is not None:
            by = f"process {owner.pid} on {owner.hostname.partition('?')[0]}"
        raise BlockingIOError(
            f"{path.parent} is in use by {by}: wait for it, or give another --seed or --des for a run beside it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def remove_stale_lock(path: Path) -> None:
    """Remove the lock file of a process of this machine that has died; any other lock is kept."""
    if not path.exists():
        return
    lock = SoftFileLease(path, lease_duration=SECONDS_UNTIL_FREE, heartbeat_interval=SECONDS_BETWEEN_RENEWALS)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return
    lock.release()


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DamagedFile if it is not JSON, FileNotFoundError if it is missing."""
    if path.exists() and not path.is_file():
        raise DamagedFile(f"{path} is not a readable JSON file (it is no file): the folder is damaged")
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise DamagedFile(f"{path} is not a readable JSON file ({error}): the folder is damaged") from error
    return json_value(text, path)


def json_value(text: str, source: Path) -> Any:
    """The JSON value in `text`, which has no NaN and no infinities. Raises DamagedFile, which names `source`."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{source} is not a readable JSON file ({error}): the folder is damaged") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line, atomically. Raises ValueError for NaN and infinities."""
    replace_file(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())


def _remove_quietly(path: Path) -> None:
    # The error that is being raised already says why.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
