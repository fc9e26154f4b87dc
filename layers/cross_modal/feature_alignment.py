"""CALF's losses between its two branches: distance of features block by block, and of forecasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]

DISTANCES: dict[str, Distance] = {"l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}


def feature_loss(
    temporal: Sequence[Float[Tensor, "row token width"]],
    textual: Sequence[Float[Tensor, "row token width"]],
    *,
    distance: Distance,
    decay: float = 0.8,
) -> Float[Tensor, ""]:
    """Feature distances summed over blocks: weight 1 for the last, times `decay` per earlier one (CALF section 3.2)."""
    total = temporal[0].new_zeros((), dtype=temporal[0].float().dtype)
    for first, second in zip(temporal, textual, strict=True):
        total = total * decay + distance(first.float(), second.float())
    return total


def mean_absolute_scaled_error(
    forecast: Float[Tensor, "row pred_len channel"],
    target: Float[Tensor, "row pred_len channel"],
    *,
    look_back: Float[Tensor, "row seq_len channel"],
    season_length: int,
) -> Float[Tensor, ""]:
    """MASE: absolute error divided by the look-back's seasonal naive error; 0 for a channel where the latter is 0.

    The look-back must be longer than one season.
    """
    naive_error = (look_back[:, season_length:] - look_back[:, :-season_length]).abs().mean(dim=1, keepdim=True)
    known = naive_error > 0
    weight = known / naive_error.where(known, naive_error.new_ones(()))
    return ((forecast - target).abs() * weight).mean()
