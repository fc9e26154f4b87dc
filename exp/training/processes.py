"""Requests to stop, and what the ranks of a run tell each other beside tensors."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

import torch
from accelerate import PartialState
from torch import Tensor, distributed

LOST = "another process of this run has ended, so this one cannot go on: its message says why"
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


class StoppedElsewhere(Exception):
    """Another process of this run has failed and says itself why: nothing more is to be said here."""


def is_rank_zero() -> bool:
    """Whether this process prints what concerns all of them: the first of a launcher's, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def messages_of_all(message: str) -> list[str]:
    """The different messages that the processes have to tell, without empty ones; the same list in every process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [message] if message else []
    device = PartialState().device
    own = torch.tensor(list(message.encode()), dtype=torch.uint8, device=device)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(lengths, torch.tensor([len(own)], device=device))
    longest = max(int(length) for length in lengths)
    if longest == 0:
        return []
    padded = torch.nn.functional.pad(own, (0, longest - len(own)))
    received = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(received, padded)
    texts = [_text(row, int(length)) for row, length in zip(received, lengths, strict=True)]
    return list(dict.fromkeys(text for text in texts if text))


def lost_process(error: BaseException) -> str | None:
    """One line when `error` says that another process of this run is gone; None for any other error."""
    if not isinstance(error, RuntimeError) or not (distributed.is_available() and distributed.is_initialized()):
        return None
    text = str(error).lower()
    signs = ("connection", "gloo", "nccl", "peer", "timed out", "socket")
    return LOST if isinstance(error, distributed.DistError) or any(sign in text for sign in signs) else None


def close_processes() -> None:
    """Ends the connection between the processes of a run that has ended well."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _text(row: Tensor, length: int) -> str:
    return bytes(row[:length].tolist()).decode()
