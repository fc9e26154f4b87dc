"""Multiply-add counts: measured, and by formula for BALM's text encoder in a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def multiply_adds(work: Callable[[], object]) -> float:
    """Count the multiply-adds of the matrix products in `work`."""
    fused = torch.backends.mha.get_fastpath_enabled()
    # The counter cannot see into torch's fused encoder layer, which is used in evaluation.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=_unknown_to_torch()) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() / 2


def _unknown_to_torch() -> dict[Any, Callable[..., int]]:
    """Counts for CPU-only operations that torch's counter does not know."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return {attention: _attention_flops, backward: _attention_backward_flops}


def _attention_flops(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flops(
    gradient: list[int], query: list[int], key: list[int], value: list[int], *_: Any, **__: Any
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


@dataclass(frozen=True)
class TextWork:
    """Text encoder work for a batch: `rows` prompts of `prefix` learnable and on average `tokens` text tokens each."""

    rows: int
    tokens: float
    prefix: int
    blocks: int = 6
    width: int = 768

    def published(self) -> float:
        """Multiply-adds if every row has its own prefix; linear maps forward and backward, attention three times."""
        length = self.prefix + self.tokens
        linear = self.rows * length * self.blocks * 12 * self.width**2
        attention = self.rows * self.blocks * 2 * self.width * length**2
        return 2 * linear + 3 * attention

    def shared(self) -> float:
        """Multiply-adds if the learnable prompt is run once for all rows; the results are the same."""
        columns = self.rows * self.tokens + self.prefix
        linear = columns * self.blocks * 12 * self.width**2
        pairs = self.rows * self.tokens * (self.prefix + self.tokens) + self.prefix**2
        # Token embeddings are constants: no gradient for the text's queries, keys and values in the first block.
        text = self.rows * self.tokens
        spared = text * 3 * self.width**2 + text * (self.prefix + self.tokens) * self.width
        return 2 * linear + 3 * self.blocks * 2 * self.width * pairs - spared
