"""Atomic file writes, JSON files, and a lock file for a folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

logger = logging.getLogger(__name__)
PART = ".part"
SECONDS_BETWEEN_RENEWALS = 2.0
SECONDS_UNTIL_FREE = 60.0


class CannotWrite(OSError):
    """A file could not be written; the old one is unchanged."""


class DamagedFile(OSError):
    """A file exists but is not valid."""


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises CannotWrite, and keeps the old file, if that fails.

    The folder must exist; one that was removed during a run is not created again.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with beside.open("wb") as file:
            file.write(content)
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


def remove_parts(folder: Path) -> None:
    """Remove partial files of interrupted writes from `folder` (not from its subfolders)."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is not a readable JSON file ({error}): the folder is damaged") from error


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line, atomically. Raises ValueError for NaN and infinities."""
    replace_file(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())


def _remove_quietly(path: Path) -> None:
    # The error that is being raised already says why.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
