"""Patches of a row and their embedding (PatchTST, arXiv 2211.14730; BALM-TSF section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg


@dataclass(frozen=True)
class PatchConfig:
    """Patch length and stride; the defaults are PatchTST's."""

    patch_len: int = HfArg(default=16, help="length of a patch, in time steps")
    stride: int = HfArg(default=8, help="stride between patches, in time steps")

    def __post_init__(self) -> None:
        for name in ("patch_len", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1 time step, got {getattr(self, name)}")


def num_patches(seq_len: int, *, patch_len: int, stride: int) -> int:
    """Number of patches in `seq_len` time steps, as `cut_patches` makes them; ValueError if none fits."""
    if patch_len > seq_len:
        raise ValueError(f"--patch_len must be at most --seq_len, got {patch_len} > {seq_len}: lower --patch_len")
    return (seq_len - patch_len) // stride + 2


def cut_patches(
    rows: Float[Tensor, "row time"], *, patch_len: int, stride: int
) -> Float[Tensor, "row patch patch_len"]:
    """Cut rows into patches, after padding the end with `stride` copies of the last value."""
    padding = rows[:, -1:].expand(-1, stride)
    return torch.cat([rows, padding], dim=1).unfold(1, patch_len, stride)


class PatchEmbedding(nn.Module):
    """Circular convolution of width 3 over the patches, then dropout; no position embedding."""

    def __init__(self, patch_len: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(patch_len, d_model, kernel_size=3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.dropout = nn.Dropout(dropout)

    def forward(self, patches: Float[Tensor, "row patch patch_len"]) -> Float[Tensor, "row patch d_model"]:
        return self.dropout(self.convolution(patches.transpose(1, 2)).transpose(1, 2))
