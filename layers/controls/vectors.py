"""Control experiments without a language model: a small network in place of the text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layers.instance_norm import InstanceStatistics
from layers.statistics import NUM_LAGS, RowStatistics
from layers.text_encoder import TextFeatures


class VectorEncoder(nn.Module, ABC):
    """Maps one vector per row to `num_states` states of `width`, as a text encoder does with a prompt.

    Two layers with `hidden` units make `hidden` numbers per state; a linear map shared by the states makes them as wide
    as the language model's.
    """

    learnable_prompt: None = None
    prompt_version = 0
    features_are_constant = False

    def __init__(self, num_inputs: int, *, width: int, num_states: int, d_ff: int, hidden: int) -> None:
        super().__init__()
        self.num_states, self.d_ff = num_states, d_ff
        self.network = nn.Sequential(nn.Linear(num_inputs, hidden), nn.GELU(), nn.Linear(hidden, num_states * hidden))
        self.mapping = nn.Linear(hidden, width)

    @abstractmethod
    def vectors(self, rows: Float[Tensor, "row time"]) -> Float[Tensor, "row input"]:
        """What the network reads of each row."""

    def prompt_inputs(self, rows: Float[Tensor, "row time"]) -> dict[str, Tensor]:
        """The vector of each row."""
        return {"prompt_vector": self.vectors(rows)}

    def forward(self, inputs: dict[str, Tensor]) -> TextFeatures:
        """Features of the states, from `prompt_inputs`."""
        states = self.network(inputs["prompt_vector"]).unflatten(1, (self.num_states, -1))
        return TextFeatures.of(self.mapping(states), self.d_ff)

    def train_prompt(self, trains: bool) -> None:
        """Nothing: there is no learnable prompt."""


class NumbersEncoder(VectorEncoder):
    """Control: reads a prompt's nine statistics as numbers, rounded as in the prompt."""

    def __init__(self, *, digits: int | None, all_lags: bool, float32: bool, **sizes: int) -> None:
        super().__init__(4 + NUM_LAGS, **sizes)
        self.digits, self.all_lags, self.float32 = digits, all_lags, float32

    def vectors(self, rows: Float[Tensor, "row time"]) -> Float[Tensor, "row input"]:
        """Minimum, maximum and median (normalised), trend (1 upward, -1 downward), lags as a share of the row."""
        found = RowStatistics.of(rows, all_lags=self.all_lags, float32=self.float32)
        values = torch.stack([found.minimum, found.maximum, found.median], dim=1)
        if self.digits is not None:
            values = values.round(decimals=self.digits)
        trend = 2 * found.upward.float()[:, None] - 1
        return torch.cat([values, trend, found.lags.float() / rows.shape[1]], dim=1)


class WindowEncoder(VectorEncoder):
    """Control: reads the normalised look-back window itself."""

    def vectors(self, rows: Float[Tensor, "row time"]) -> Float[Tensor, "row input"]:
        """The window after instance normalisation."""
        return InstanceStatistics.of(rows[:, :, None]).normalise(rows[:, :, None])[:, :, 0]
