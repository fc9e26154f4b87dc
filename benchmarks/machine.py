"""What a figure was measured on, and how fast that machine multiplies matrices right now."""

from __future__ import annotations

import statistics
import time

import torch

from exp.runtime import cpu_name

# GPT-2's widest product, on about as many tokens as a batch of 24 prompts has.
TOKENS, WIDTH, INNER = 1579, 768, 3072


def synchronise(device: torch.device) -> None:
    """Waits for a GPU's queue; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_rate(dtype: torch.dtype, device: torch.device, *, repeats: int = 12) -> float:
    """Multiply-adds per second of [1579, 768] x [768, 3072] in `dtype`: the median of several rounds."""
    left = torch.randn(TOKENS, WIDTH, dtype=dtype, device=device)
    right = torch.randn(WIDTH, INNER, dtype=dtype, device=device)
    rates = []
    for number in range(repeats + 2):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(4):
            torch.mm(left, right)
        synchronise(device)
        if number >= 2:
            rates.append(4 * TOKENS * WIDTH * INNER / (time.perf_counter() - began))
    return statistics.median(rates)


def describe(device: torch.device) -> str:
    """Machine, threads and torch version in one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return f"{name}, torch {torch.__version__}"
