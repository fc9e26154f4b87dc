"""Stop requests by signal, and messages and errors between ranks."""

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
# A launcher forwards Ctrl-C, so that one reaches a process twice.
SECONDS_OF_ONE_REQUEST = 1.0


class StopRequest:
    """In the `with` block the first SIGINT or SIGTERM sets `requested`; a later one interrupts at once."""

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
    """Another rank has failed and reports the error itself."""


def is_rank_zero() -> bool:
    """Whether this process is rank 0, which prints for all ranks."""
    return os.environ.get("RANK", "0") == "0"


def messages_of_all(message: str) -> list[str]:
    """The distinct non-empty messages of all ranks; the same list on every rank."""
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
    """A message if `error` means that another rank has died, else None."""
    if not isinstance(error, RuntimeError) or not (distributed.is_available() and distributed.is_initialized()):
        return None
    text = str(error).lower()
    signs = ("connection", "gloo", "nccl", "peer", "timed out", "socket")
    return LOST if isinstance(error, distributed.DistError) or any(sign in text for sign in signs) else None


def close_processes() -> None:
    """Destroy the process group at the end of a successful run."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _text(row: Tensor, length: int) -> str:
    return bytes(row[:length].tolist()).decode()
