"""Memory use of this process: on a CPU its resident size, on a GPU what torch has allocated."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import torch

from exp.training.runtime import peak_memory_bytes

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def held_bytes(device: torch.device) -> int:
    """Current memory use."""
    gc.collect()
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmRSS")


def recent_peak_bytes(device: torch.device) -> int:
    """Peak memory use since `reset_peak` (on a CPU outside Linux, since the start of the process)."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes("VmHWM")


def reset_peak(device: torch.device) -> None:
    """Reset the peak of `recent_peak_bytes`, to leave out the higher peak of building a model."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text(RESET_PEAK)


def out_of_memory(error: BaseException) -> str | None:
    """One line with the ways out if `error` says that memory ran out, on a GPU or in the machine, else None."""
    text = str(error).splitlines()[0] if str(error) else ""
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    if not on_gpu and not isinstance(error, MemoryError) and "can't allocate memory" not in text:
        return None
    asked = re.search(r"allocate ([\d.]+ [KMGT]?iB)|allocate (\d+) bytes", text)
    tried = "" if asked is None else f", {asked[1] or f'{int(asked[2]) / 2**30:.2f} GiB'} were asked for"
    place = "the GPU" if on_gpu else "this machine"
    return (
        f"{place} is out of memory{tried}{_there_is(text)}. The run is kept as it was "
        "last saved: the same command goes on from there, also with a smaller --eval_batch_size or --row_memory_mb; a "
        "smaller --batch_size or --precision bf16 starts a run of its own"
    )


def _there_is(text: str) -> str:
    """The memory of the GPU and what is free of it, as torch words it."""
    found = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", text)
    return "" if found is None else f" of the {found[1]} that it has ({found[2]} free)"


def _resident_bytes(name: str) -> int:
    """The entry `name` of /proc/self/status on Linux; elsewhere the peak size so far."""
    if not STATUS.exists():
        return peak_memory_bytes(torch.device("cpu"))["host"]
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:")
