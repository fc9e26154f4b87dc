"""Copies from the CPU to a device that the host does not wait for."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Int64
from torch import Tensor

# CUDA has no kernels that index tensors of these types.
INDEXABLE = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


def prepared_for(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor made ready to be copied to `device`: in a type that it can index, and in pinned memory."""
    if device.type == "cpu":
        return tensor
    tensor = tensor.to(INDEXABLE.get(tensor.dtype, tensor.dtype))
    return tensor if device.type == "mps" else tensor.pin_memory()


def copied_to(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; a CPU tensor is copied from pinned memory while the host goes on."""
    if tensor.device.type != "cpu" or device.type == "cpu":
        return tensor.to(device)
    return prepared_for(tensor, device).to(device, non_blocking=True)


@functools.lru_cache(maxsize=64)
def kept_on(numbers: tuple[int, ...], device: torch.device) -> Int64[Tensor, "number"]:
    """A tensor of `numbers` on `device`, made once: a list as an index would be copied for every batch."""
    return copied_to(torch.tensor(numbers, dtype=torch.int64), device)
