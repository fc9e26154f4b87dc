"""Stop requests by signal, and messages and errors between ranks."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from types import FrameType
from typing import TypeVar

import torch
from accelerate import PartialState
from torch import distributed

from utils.signals import INTERRUPTED, ON_INTERRUPT

Item = TypeVar("Item")
LOST = "another process of this run has ended, so this one cannot go on: its message says why"
# Time for a rank that gets SIGTERM to print why the run ends.
SECONDS_TO_REPORT = 5.0


class StoppedElsewhere(Exception):
    """Another rank has failed and reports the error itself."""


def is_rank_zero() -> bool:
    """Whether this process is rank 0, which prints for all ranks."""
    return os.environ.get("RANK", "0") == "0"


def messages_of_all(message: str) -> list[str]:
    """The distinct non-empty messages of all ranks; the same list on every rank."""
    return list(dict.fromkeys(text for text in gather(message) if text))


def gather(value: Item) -> list[Item]:
    """Gather `value`, made of JSON values, from each rank, in rank order.

    As bytes of JSON rather than by torch's gather of objects, which unpickles what it receives.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    device = PartialState().device
    own = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=device)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(lengths, torch.tensor([len(own)], device=device))
    padded = torch.nn.functional.pad(own, (0, max(int(length) for length in lengths) - len(own)))
    received = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(received, padded)
    return [json.loads(bytes(row[: int(length)].tolist())) for row, length in zip(received, lengths, strict=True)]


def lost_process(error: BaseException) -> str | None:
    """A message if `error` means that another rank, or the launcher, has died, else None."""
    if not (isinstance(error, RuntimeError) and distributed.is_available()):
        return None
    # While the ranks look for each other there is no group yet, only the launcher's variable.
    if not distributed.is_initialized() and os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    text = str(error).lower()
    signs = ("connection", "gloo", "nccl", "peer", "timed out", "socket")
    return LOST if isinstance(error, distributed.DistError) or any(sign in text for sign in signs) else None


def delay_termination(seconds: float) -> None:
    """Keep this process alive for `seconds` after a SIGTERM.

    If a rank dies, the launcher sends SIGTERM to the others just when their next collective fails. Without the delay,
    the signal can kill them before they have printed the reason.
    """

    def end() -> None:
        if is_rank_zero():
            print(ON_INTERRUPT, file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)

    def end_later(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end_later)


def close_processes() -> None:
    """Destroy the process group at the end of a run that all ranks end alike: done, or refused."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
