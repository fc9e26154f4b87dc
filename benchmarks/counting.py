"""Multiply-adds: those that some work does, and those of BALM's text branch in a training step by formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def multiply_adds(work: Callable[[], object]) -> float:
    """Multiply-adds of the matrix products that `work` really does."""
    fused = torch.backends.mha.get_fastpath_enabled()
    # torch's encoder layer as one operation, which it is in evaluation, is not looked into.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=_unknown_to_torch()) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() / 2


def _unknown_to_torch() -> dict[Any, Callable[..., int]]:
    """How much the operations do that torch's counter passes over: those that only a CPU has."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return {attention: _attention_flops, backward: _attention_backward_flops} | (
        {linear: _linear_flops} if linear else {}
    )


def _attention_flops(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flops(
    gradient: list[int], query: list[int], key: list[int], value: list[int], *_: Any, **__: Any
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _linear_flops(x_shape: list[int], weight_shape: list[int], *_: Any, **__: Any) -> int:
    """Of oneDNN's x @ weight.T, which torch's counter does not know."""
    return 2 * math.prod(x_shape) * weight_shape[0]


@dataclass(frozen=True)
class TextWork:
    """A batch: `rows` prompts of `tokens` tokens on average behind `prefix` learnable ones, through `blocks` blocks."""

    rows: int
    tokens: float
    prefix: int
    blocks: int = 6
    width: int = 768

    def published(self) -> float:
        """Every row through all blocks with its own prefix: linear maps forward and backward, attention thrice."""
        length = self.prefix + self.tokens
        linear = self.rows * length * self.blocks * 12 * self.width**2
        attention = self.rows * self.blocks * 2 * self.width * length**2
        return 2 * linear + 3 * attention

    def exact(self) -> float:
        """The prefix once for all rows, and the last block only where its output is read: the same numbers."""
        length = self.prefix + self.tokens
        columns = self.rows * self.tokens + self.prefix
        full = (self.blocks - 1) * columns * 12 * self.width**2
        # The last block: keys and values everywhere, everything else at the positions that are read.
        last = columns * 2 * self.width**2 + self.rows * self.prefix * 10 * self.width**2
        queries = (self.blocks - 1) * (self.rows * self.tokens * length + self.prefix**2)
        queries += self.rows * self.prefix * length
        return 2 * (full + last) + 3 * 2 * self.width * queries
