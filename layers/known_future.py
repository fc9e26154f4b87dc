"""The effect of columns whose future is known, such as a holiday or a planned price."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class KnownFutureEffect(nn.Module):
    """A linear effect of known columns on every channel, the same at all time steps and 0 before training.

    With it a forecaster f of the look-back alone becomes a regression whose errors f forecasts: for the effects e of
    the look-back and of the horizon, forecast = f(look_back - e_past) + e_future.
    """

    def __init__(self, num_columns: int, num_channels: int) -> None:
        super().__init__()
        self.weights = nn.Linear(num_columns, num_channels, bias=False)
        nn.init.zeros_(self.weights.weight)

    def forward(
        self, known: Float[Tensor, "row both column"], *, seq_len: int
    ) -> tuple[Float[Tensor, "row seq_len channel"], Float[Tensor, "row pred_len channel"]]:
        """The effects in the look-back, the first `seq_len` steps of `known`, and in the horizon."""
        effect = self.weights(known).float()
        return effect[:, :seq_len], effect[:, seq_len:]
