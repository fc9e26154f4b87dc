"""Ctrl-C and SIGTERM: during the imports, the work and the epochs of a command, and the death of a parent process.

Only the standard library is imported, so that a signal is obeyed before anything large is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

INTERRUPTED = 130
# As a shell calls a command that a closed pipe ended.
NOBODY_READS = 141
NOTHING_KEPT = "interrupted: give the same command again"
ON_INTERRUPT = "interrupted: the same command goes on from the last state that was saved"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher forwards Ctrl-C, so that one reaches a process twice.
SECONDS_OF_ONE_REQUEST = 1.0
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_UNTIL_REPEATED = 0.05
# The process that must outlive this one: set by `exp.grid` for its runs.
PARENT = "FORECAST_PARENT"
# torchrun and accelerate set it for their workers.
ELASTIC = "TORCHELASTIC_RUN_ID"
FIRST_PROCESS = 1
_unheard = threading.Event()


class StopRequest:
    """In the `with` block a SIGINT or SIGTERM sets `requested`; `at_once`, it also raises KeyboardInterrupt.

    Otherwise only a later second one raises. An interrupt that Python drops, because it was raised while an object was
    cleaned up, is repeated. Outside the main thread the block changes nothing.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once, self.requested = at_once, False
        self._when = 0.0
        self._previous: dict[int, object] = {}
        self._report_dropped = sys.unraisablehook
        self._again: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._report_dropped, sys.unraisablehook = sys.unraisablehook, self._on_dropped
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self.on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._again is not None:
            self._again.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        if self._previous:
            sys.unraisablehook = self._report_dropped

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note the request; raise KeyboardInterrupt if it is for at once, or repeated."""
        now = time.monotonic()
        is_again = self.requested and now - self._when > SECONDS_OF_ONE_REQUEST
        if not self.requested:
            self.requested, self._when = True, now
        if self.at_once or is_again:
            raise KeyboardInterrupt

    def _on_dropped(self, dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            self._report_dropped(dropped)
            return
        # Not from here, where it would be dropped again.
        self._again = threading.Timer(SECONDS_UNTIL_REPEATED, os.kill, (os.getpid(), signal.SIGINT))
        self._again.daemon = True
        self._again.start()


def raise_if_requested() -> None:
    """Raise KeyboardInterrupt again if one that was raised at once got lost (in a callback that ignores errors)."""
    request = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if isinstance(request, StopRequest) and request.at_once and request.requested:
        raise KeyboardInterrupt


def end_at_once_on_signals() -> None:
    """Until the next handler is set, a SIGINT or SIGTERM ends the process with one line: nothing is written yet."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if os.environ.get("RANK", "0") == "0":
            os.write(2, b"interrupted: nothing was written\n")
        os._exit(INTERRUPTED)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, end)


def run_tool(main: Callable[[], int | None]) -> int:
    """Run the `main` of a command; a SIGINT or SIGTERM ends it with one line, a closed pipe quietly.

    Returns the exit code.
    """
    with StopRequest(at_once=True):
        try:
            code = main() or 0
            if code != INTERRUPTED:
                raise_if_requested()
        except KeyboardInterrupt:
            print(NOTHING_KEPT, file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            _write_for_nobody()
            return NOBODY_READS
        return code


def exit_with(code: int) -> NoReturn:
    """End the process; a signal from here on changes nothing, since the work is done and said.

    Nor does it if the reader of the output has gone (`| head`).
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _write_for_nobody()
        code = code or NOBODY_READS
    sys.exit(code)


def _write_for_nobody() -> None:
    """Drop what is still to be written: Python would complain when it flushes standard output at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stop_with_parent() -> None:
    """Send this process a SIGTERM when the queue or launcher that started it has died, however it died.

    Within `unheard` it ends at once.
    """
    given = os.environ.get(PARENT)
    # torchrun's workers cannot outlive it usefully either: half of them would wait for ever.
    parent = int(given) if given and given.isdecimal() else _launcher() if "LOCAL_RANK" in os.environ else None
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        print("the process that started this run has ended: stopping", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        while not _unheard.is_set():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def unheard() -> Iterator[None]:
    """A wait outside Python, with nothing to save: signals are not heard in it, but the death of a parent is."""
    _unheard.set()
    try:
        yield
    finally:
        _unheard.clear()


def _launcher() -> int:
    """The process that started this worker, or -1 if that has died since and the system's first process adopted it."""
    parent = os.getppid()
    if ELASTIC not in os.environ or parent != FIRST_PROCESS:
        return parent
    try:
        program = Path(f"/proc/{parent}/exe").readlink().name
    except FileNotFoundError:
        return parent
    except PermissionError:
        return -1
    # In a container the launcher, a Python program, may itself be the first process.
    return parent if program.startswith(("python", "pypy")) else -1
