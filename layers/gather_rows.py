"""Differentiable all-gather of rows over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def rows_of_all_processes(rows: Float[Tensor, "row *rest"]) -> Float[Tensor, "all_rows *rest"]:
    """Rows of all ranks in rank order, the same on every rank; `rows` itself without distributed training.

    Ranks may have different numbers of rows. All ranks must call it and run the backward pass, in which the gradients
    of all ranks are summed.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    return _RowsOfAllProcesses.apply(rows)  # pyright: ignore[reportReturnType]


class _RowsOfAllProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(distributed.get_world_size())]
        distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        lengths, own = [int(count) for count in counts], distributed.get_rank()
        ctx.start, ctx.length = sum(lengths[:own]), lengths[own]
        # all_gather needs equal sizes: pad to the longest, then cut.
        filled = rows.new_zeros(max(lengths), *rows.shape[1:])
        filled[: len(rows)] = rows
        received = [torch.empty_like(filled) for _ in lengths]
        distributed.all_gather(received, filled)
        return torch.cat([share[:length] for share, length in zip(received, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = grad.contiguous()
        distributed.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.length]
