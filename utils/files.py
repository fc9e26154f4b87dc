"""Files that a reader never sees half-written, and the lock file that keeps a second process out of a folder."""

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
    """A file could not be written; what was in its place before is still there."""


class DamagedFile(OSError):
    """A file is there but does not hold what it should."""


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` in place of `path` in one step; a CannotWrite says why not, and then the old file is kept.

    The folder must exist: one that has been removed under a running program is not made again.
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
    """Removes what killed writers left beside their places in `folder` (not below it)."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the `with` block; works between processes and, on a shared disk, between machines.

    The owner renews the file. Whoever finds it waits until it is renewed, then raises a BlockingIOError that names the
    owner. The lock of a process that has died is free at once on its machine, on another one when it has not been
    renewed for SECONDS_UNTIL_FREE.
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
    """`value` as indented JSON; NaN and infinities are refused (ValueError), since JSON has none."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file; a DamagedFile names it when it is not JSON, a FileNotFoundError when it is missing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is not a readable JSON file ({error}): the folder is damaged") from error


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, the whole file replaced at once; NaN and infinities are refused (ValueError)."""
    replace_file(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())


def _remove_quietly(path: Path) -> None:
    # Whatever prevents this too is the error that is already on its way.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
