"""Launches of a piece of work, and the share of its time in which the device is busy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring.timing import Work, synchronise


@dataclass(frozen=True)
class Profile:
    """`launches`: kernels on a GPU, operations on a CPU. `busy`: their share of the time from the first to the last."""

    launches: int
    busy: float


def profile_of(work: Work, device: torch.device) -> Profile:
    """Profile one call of `work`, after another that warms up."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    work()
    synchronise(device)
    with profile(activities=activities) as found:
        work()
        synchronise(device)
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    events = [
        event for event in found.events() or [] if event.device_type == kind and (on_gpu or event.cpu_parent is None)
    ]
    spans = [(event.time_range.start, event.time_range.end) for event in events]
    if not spans:
        return Profile(0, 0.0)
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    return Profile(len(spans), min(1.0, sum(end - start for start, end in spans) / max(whole, 1e-9)))
