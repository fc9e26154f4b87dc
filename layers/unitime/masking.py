"""Rows of which some values are dropped: their statistics and patches (UniTime, arXiv 2310.09751, section 4)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from layers.instance_norm import InstanceStatistics


def draw_mask(rows: Float[Tensor, "row time"], rate: float) -> Float[Tensor, "row time"]:
    """1 where a value is kept, 0 where it is dropped, each with probability `rate`, from torch's generator."""
    return (torch.rand(rows.shape, device=rows.device) >= rate).to(rows.dtype)


def masked_statistics(rows: Float[Tensor, "row time"], mask: Float[Tensor, "row time"]) -> InstanceStatistics:
    """Mean and deviation of the kept values; the deviation is sqrt(sum of squares / number kept + 1e-5).

    A row without a kept value has mean 0 and deviation sqrt(1e-5). Values whose squares overflow are divided by their
    largest magnitude first, as `InstanceStatistics.of` does.
    """
    values, kept = rows.detach() * mask, mask.sum(dim=1, keepdim=True).clamp(min=1)
    largest = values.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
    scale = torch.where((4 * largest.square()).isfinite(), torch.ones_like(largest), largest)
    shares = values / scale
    mean = shares.sum(dim=1, keepdim=True) / kept
    squares = ((shares - mean) * mask).square().sum(dim=1, keepdim=True)
    deviation = torch.sqrt(squares / kept + 1e-5)
    return InstanceStatistics((mean * scale)[:, :, None], (deviation * scale)[:, :, None])


def end_padding(seq_len: int, *, patch_len: int, stride: int, covers_all: bool) -> int:
    """Number of copies of the last value behind a row, as published.

    Where the published rule leaves the last values in no patch (look-back 96, patches of 12, stride 8), `covers_all`
    adds what they lack.
    """
    if seq_len <= patch_len:
        return patch_len - seq_len
    padding = 0 if seq_len % stride == 0 else max(0, seq_len // stride * stride + patch_len - seq_len)
    return padding + (-(seq_len + padding - patch_len) % stride if covers_all else 0)


def count_patches(seq_len: int, *, patch_len: int, stride: int, covers_all: bool) -> int:
    """Number of patches of a row of `seq_len` values."""
    padding = end_padding(seq_len, patch_len=patch_len, stride=stride, covers_all=covers_all)
    return (seq_len + padding - patch_len) // stride + 1


def cut_padded_patches(
    rows: Float[Tensor, "row time"], *, patch_len: int, stride: int, covers_all: bool
) -> Float[Tensor, "row patch patch_len"]:
    """Patches of rows whose end is padded by `end_padding`."""
    padding = end_padding(rows.shape[1], patch_len=patch_len, stride=stride, covers_all=covers_all)
    return F.pad(rows[:, None], (0, padding), mode="replicate")[:, 0].unfold(1, patch_len, stride)
