"""Plain implementation of TimesNet as published, with each of our savings alone, for the benchmarks."""

from __future__ import annotations

import functools
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from layers.timesnet.block import TimesBlock
from layers.timesnet.inception import Inception, Kernel
from layers.timesnet.periods import fold, unfold
from models.base import ForecastSpec
from models.timesnet import TimesNet, TimesNetConfig

if TYPE_CHECKING:
    from benchmarks.cases import CaseConfig


class PlainTimesBlock(TimesBlock):
    """The published loop: the periods of the batch, one image after the other, equal ones again.

    `way`: "plain" runs the six convolutions of an Inception module in turn, "merged" runs the one that equals their
    mean, "cropped" leaves out what of it never meets the image.
    """

    way: str = "plain"

    def forward(self, series: Float[Tensor, "row time d_model"]) -> Float[Tensor, "row time d_model"]:
        num_steps = series.shape[1]
        amplitudes = torch.fft.rfft(series, dim=1).abs()
        mean = amplitudes.mean(dim=0).mean(dim=-1)
        mean[0] = 0
        strongest = mean.topk(self.top_k).indices.detach().cpu().numpy()
        widen, narrow = self._prepared(self.widen), self._prepared(self.narrow)
        outputs = []
        for period in num_steps // strongest:
            image = fold(series, int(period)).contiguous()
            outputs.append(unfold(narrow(F.gelu(widen(image))), num_steps))
        weights = amplitudes.mean(dim=-1)[:, torch.from_numpy(strongest)].softmax(dim=1)
        return (torch.stack(outputs, dim=-1) * weights[:, None, None]).sum(dim=-1) + series

    def _prepared(self, inception: Inception) -> nn.Module | Kernel:
        if self.way == "plain":
            return inception
        return _Whole(inception.kernel()) if self.way == "merged" else inception.kernel()


class _Whole(nn.Module):
    """A kernel that is not cropped."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.weight, self.bias = kernel.weight, kernel.bias

    def forward(self, image: Tensor) -> Tensor:
        return F.conv2d(image, self.weight, self.bias, padding="same")


def build(config: CaseConfig, way: str, spec: ForecastSpec) -> TimesNet:
    """TimesNet of a way: "plain", "merged", "cropped", "batch_periods", or ours; trained for `trained_steps` first."""
    settings = TimesNetConfig(d_model=config.d_model, d_ff=config.d_ff, batch_periods=way == "batch_periods")
    model = TimesNet.build(settings, spec)
    if config.trained_steps:
        model.load_state_dict(_trained_state(config))
    for block in model.blocks:
        if way in ("plain", "merged", "cropped"):
            block.__class__ = PlainTimesBlock
            assert isinstance(block, PlainTimesBlock)
            block.way = way
    return model


@functools.cache
def _trained_state(config: CaseConfig) -> dict[str, Tensor]:
    """Parameters after `trained_steps` steps of Adam at the published rate."""
    from dataclasses import replace

    from benchmarks.cases import loader_of, spec_of, step_of

    untrained = replace(config, trained_steps=0)
    model = build(untrained, "fp32", spec_of(untrained, torch.float32)).to(config.device).train()
    step = step_of(model, untrained, "fp32")
    batches = cycle(loader_of(untrained, model))
    for _ in range(config.trained_steps):
        step(next(batches))
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}
