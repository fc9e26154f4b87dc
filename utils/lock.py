"""One process at a time in a folder: a lock file that names its owner and is recognised when the owner has died."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self


class FolderLock:
    """Holds `folder/lock.json` for the `with` block; a BlockingIOError names another process that holds it."""

    def __init__(self, folder: Path):
        self.path = folder / "lock.json"

    def __enter__(self) -> Self:
        owner = {"host": socket.gethostname(), "process": os.getpid(), "started": _start_time(os.getpid())}
        for _ in range(2):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                self._remove_if_stale()
                continue
            with os.fdopen(handle, "w") as file:
                json.dump(owner, file)
            return self
        raise BlockingIOError(f"{self.path.parent} has just been taken by another process: wait for it or change --des")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def _remove_if_stale(self) -> None:
        try:
            owner = json.loads(self.path.read_text())
            host, process, started = owner["host"], int(owner["process"]), owner["started"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            # Only a process that died between creating the file and filling it leaves such a lock.
            host, process, started = socket.gethostname(), 0, None
        if host != socket.gethostname():
            raise BlockingIOError(
                f"{self.path.parent} is in use by process {process} on {host}: wait for it, or delete {self.path.name} "
                "there if that machine is gone"
            )
        if process and _start_time(process) == started:
            raise BlockingIOError(f"{self.path.parent} is in use by process {process} on this machine: wait for it")
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _start_time(process: int) -> str | None:
    """When a process started, in clock ticks since boot; None where there is no such process (or no /proc)."""
    try:
        # The command's name may hold spaces and brackets: the fields are counted after its closing one.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return _alive(process)


def _alive(process: int) -> str | None:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive" if not Path("/proc/self/stat").exists() else None
