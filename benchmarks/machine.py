"""What a figure was measured on, and how fast that machine multiplies matrices right now."""

from __future__ import annotations

import statistics

import torch

from benchmarks.timing import time_in_turn
from exp.training.runtime import cpu_name
from layers.fast_gpt2.operations import multiply

# GPT-2's widest product, on about as many tokens as a batch of 24 prompts has.
TOKENS, WIDTH, INNER = 1579, 768, 3072


def matmul_rate(dtype: torch.dtype, device: torch.device, *, repeats: int = 12) -> float:
    """Multiply-adds per second of [1579, 768] x [768, 3072] in `dtype`: the median round of the fastest product.

    On a CPU torch has two, the BLAS behind `torch.mm` and oneDNN, and which one is faster differs by machine and dtype.
    """
    left = torch.randn(TOKENS, WIDTH, dtype=dtype, device=device)
    right = torch.randn(WIDTH, INNER, dtype=dtype, device=device)
    products = {"mm": lambda: torch.mm(left, right), "layers": lambda: multiply(left, right)}
    seconds = time_in_turn(products, rounds=repeats, warmup=2, device=device, times=4)
    return TOKENS * WIDTH * INNER / min(statistics.median(found) for found in seconds.values())


def describe(device: torch.device) -> str:
    """Machine, threads and torch version in one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return f"{name}, torch {torch.__version__}"
