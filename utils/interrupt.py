"""Ctrl-C and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

# One Ctrl-C reaches a process twice when a launcher passes it on as well.
SECONDS_OF_ONE_REQUEST = 1.0


class StopRequest:
    """Within the `with` block the first signal only sets `requested`; a later second one interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._when = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        now = time.monotonic()
        if self.requested and now - self._when > SECONDS_OF_ONE_REQUEST:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._when = True, now
