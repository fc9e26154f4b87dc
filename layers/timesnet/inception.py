"""Inception: the mean of square convolutions of growing size, computed as one convolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Kernel:
    """A square convolution with zero padding that keeps an image's size."""

    weight: Float[Tensor, "output input size size"]
    bias: Float[Tensor, "output"]

    def __call__(self, image: Float[Tensor, "row input height width"]) -> Float[Tensor, "row output height width"]:
        """Convolve, without the part of the kernel that never meets the image: over 3 rows, 5 of 11 are enough."""
        half = self.weight.shape[2] // 2
        vertical, horizontal = (min(half, size - 1) for size in image.shape[2:])
        weight = self.weight[:, :, half - vertical : half + vertical + 1, half - horizontal : half + horizontal + 1]
        return F.conv2d(image, weight, self.bias, padding=(vertical, horizontal))


class Inception(nn.Module):
    """Mean of `num_kernels` convolutions with kernels of size 1, 3, 5, ... and zero padding (TimesNet, section 3.2).

    Padded with zeros to the largest size, the kernels can be averaged before the convolution instead of their outputs
    after it: `kernel()` does so, `forward` is the plain path.
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_kernels: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            nn.Conv2d(num_inputs, num_outputs, kernel_size=2 * index + 1, padding=index) for index in range(num_kernels)
        )
        for convolution in self.kernels:
            assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, image: Float[Tensor, "row input height width"]) -> Float[Tensor, "row output height width"]:
        """Each convolution in turn, then the mean."""
        return torch.stack([convolution(image) for convolution in self.kernels], dim=-1).mean(dim=-1)

    def kernel(self) -> Kernel:
        """The one convolution that equals the mean of all, with gradient to each of them."""
        largest = len(self.kernels) - 1
        weights = [F.pad(c.get_parameter("weight"), [largest - i] * 4) for i, c in enumerate(self.kernels)]
        biases = [convolution.get_parameter("bias")[None] for convolution in self.kernels]
        return Kernel(torch.stack(weights).mean(dim=0), torch.cat(biases).mean(dim=0))
