"""Embedding of a multivariate series: values, calendar and position, added (TimesNet's input layer)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SeriesEmbedding(nn.Module):
    """Circular convolution of width 3 over time, a linear map of the calendar features, and sinusoidal positions."""

    positions: Tensor

    def __init__(self, num_channels: int, num_time_features: int, d_model: int, seq_len: int, dropout: float) -> None:
        super().__init__()
        self.values = nn.Conv1d(num_channels, d_model, kernel_size=3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.values.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.calendar = nn.Linear(num_time_features, d_model, bias=False)
        self.register_buffer("positions", sinusoidal_positions(seq_len, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, series: Float[Tensor, "row time channel"], time_features: Float[Tensor, "row time feature"]
    ) -> Float[Tensor, "row time d_model"]:
        values = self.values(series.transpose(1, 2)).transpose(1, 2)
        return self.dropout(values + self.calendar(time_features) + self.positions)


def sinusoidal_positions(num_positions: int, width: int) -> Float[Tensor, "{num_positions} {width}"]:
    """Sines in even and cosines in odd places, of frequency 10000^(-2i/width) (Vaswani et al. 2017, section 3.5)."""
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(num_positions)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
