"""Training losses by name: the mean loss of forecast and target in scaled units."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def smape(forecast: Float[Tensor, "..."], target: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Symmetric mean absolute percentage error, in 0..200 (M4 competition); 0 where both values are 0."""
    size = forecast.abs() + target.abs()
    return 200.0 * ((forecast - target).abs() / size.where(size > 0, size.new_ones(()))).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth_l1": F.smooth_l1_loss,
    "smape": smape,
}
