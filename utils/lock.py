"""One process at a time in a folder: a lock file that names its owner and is recognised when the owner has died.

On one machine the kernel's lock on the open file decides, which ends with its process however that ends. Between
machines, where that may not reach, the owner renews the file's time, and a file that nobody renews has no owner.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_SIGNS = 20.0
SECONDS_UNTIL_STALE = 120.0


class FolderLock:
    """Holds `folder/lock.json` for the `with` block; a BlockingIOError names another process that holds it."""

    def __init__(self, folder: Path):
        self.path = folder / "lock.json"
        self._handle = -1
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self._handle = self._locked_file()
        try:
            self._refuse_living_owner()
            owner = {"host": socket.gethostname(), "process": os.getpid(), "started": start_time(os.getpid())}
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(owner).encode(), 0)
        except BaseException:
            os.close(self._handle)
            raise
        self._released.clear()
        threading.Thread(target=self._give_signs_of_life, name="lock", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        # Removed while still locked: who waits for the lock notices that the file is no longer in its place.
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        os.close(self._handle)

    def _locked_file(self) -> int:
        """The lock file, locked, and certainly the one that others find under its name."""
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _lock(handle)
                if os.path.samestat(os.fstat(handle), self.path.stat()):
                    return handle
            except FileNotFoundError:
                pass
            except BlockingIOError:
                os.close(handle)
                raise BlockingIOError(self._in_use_here(read_owner(self.path))) from None
            os.close(handle)

    def _in_use_here(self, owner: dict[str, Any]) -> str:
        return (
            f"{self.path.parent} is in use by process {owner.get('process', '?')} on this machine: wait for it, or "
            "give another --seed or --des for a run beside it"
        )

    def _refuse_living_owner(self) -> None:
        """Where the kernel's lock does not reach: another machine, or a file system without locks."""
        owner = read_owner(self.path)
        host, process = owner.get("host", socket.gethostname()), owner.get("process")
        if host == socket.gethostname():
            # A number alone could by now be that of another program: only the start time says that it is the owner.
            started = start_time(process) if isinstance(process, int) else None
            if started is not None and started == owner.get("started"):
                raise BlockingIOError(self._in_use_here(owner))
            return
        age = self._seconds_since_sign_of_life()
        if age < SECONDS_UNTIL_STALE:
            raise BlockingIOError(
                f"{self.path.parent} is in use by process {owner.get('process', '?')} on {host}, which gave a sign of "
                f"life {age:.0f} s ago: wait for it (if that machine is gone, the folder is free "
                f"{SECONDS_UNTIL_STALE:.0f} s after its last sign)"
            )

    def _seconds_since_sign_of_life(self) -> float:
        """By the clock of the file system, which may not be this machine's."""
        probe = self.path.with_name(f".lock.{os.getpid()}.part")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _give_signs_of_life(self) -> None:
        while not self._released.wait(SECONDS_BETWEEN_SIGNS):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def _lock(handle: int) -> None:
    """Locks an open file; a BlockingIOError where another has it. File systems without locks are passed over."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL):
            raise


def read_owner(path: Path) -> dict[str, Any]:
    """What a lock file says of its owner; empty where it says nothing (its owner died, or is about to write)."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def start_time(process: int) -> str | None:
    """When a process started, in clock ticks since boot; None where there is no such process, or no /proc."""
    try:
        # The command's name may hold spaces and brackets: the fields are counted after its closing one.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
