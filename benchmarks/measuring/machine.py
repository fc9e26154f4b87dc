"""Machine description and its current rate of matrix products."""

from __future__ import annotations

import statistics

import torch

from benchmarks.measuring.timing import time_in_turn
from exp.training.runtime import cpu_name

# GPT-2's widest product, with about as many tokens as a batch of 24 prompts.
TOKENS, WIDTH, INNER = 1579, 768, 3072


def matmul_rate(dtype: torch.dtype, device: torch.device, *, repeats: int = 12) -> float:
    """Multiply-adds per second of [1579, 768] x [768, 3072] in `dtype`, median over rounds."""
    left = torch.randn(TOKENS, WIDTH, dtype=dtype, device=device)
    right = torch.randn(WIDTH, INNER, dtype=dtype, device=device)
    ways = {"mm": lambda: torch.mm(left, right)}
    # A GPU needs many products in a row to reach its clock rate.
    times = 100 if device.type == "cuda" else 4
    seconds = time_in_turn(ways, rounds=repeats, warmup=2, device=device, times=times)["mm"]
    return TOKENS * WIDTH * INNER / statistics.median(seconds)


def describe(device: torch.device) -> str:
    """Machine and torch version in one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return f"{name}, torch {torch.__version__}"
