"""What `--compile` compiles on a GPU: what a model repeats, once for each shape of its batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.base import Forecaster

# Padded widths of prompts, the last and the evaluation batches, each with and without gradient.
MOST_SHAPES = 64


def compile_for_gpu(model: Forecaster, **how: Any) -> str:
    """Compile each repeated block of `model`, or the whole where nothing repeats, with these arguments of torch.

    Graphs have fixed shapes, as CUDA graphs need them: batches of one size and prompts padded to multiples of a number
    of tokens keep their number small. Returns what was compiled, in words.
    """
    torch._dynamo.config.recompile_limit = max(MOST_SHAPES, torch._dynamo.config.recompile_limit)
    own = model.compile_blocks(**how)
    if own is not None:
        return own
    lists = [blocks for blocks in model.modules() if isinstance(blocks, nn.ModuleList | nn.Sequential)]
    repeated = [blocks for blocks in lists if _is_repeated(blocks)]
    for blocks in repeated:
        for block in blocks:
            block.compile(dynamic=False, **how)
    if repeated:
        kinds = dict.fromkeys(f"each of {len(blocks)} blocks {type(blocks[0]).__name__}" for blocks in repeated)
        return ", ".join(kinds)
    model.compile(dynamic=False, **how)
    return "the model"


def _is_repeated(blocks: nn.ModuleList | nn.Sequential) -> bool:
    """Whether these are several blocks of one kind that are made of further modules."""
    return len(blocks) > 1 and len({type(block) for block in blocks}) == 1 and any(True for _ in blocks[0].children())
