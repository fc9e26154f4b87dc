"""The contract between a model and everything that trains, tests or serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Forecast:
    """What a model returns: the forecast, and in training mode the weighted auxiliary losses by name."""

    values: Float[Tensor, "row pred_len channel"]
    auxiliary_losses: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ForecastSpec:
    """What a model must know of the task before it is built.

    `season_length` is the number of time steps of the strongest natural cycle (24 for hourly data).
    `dtype` is the precision of the large matrix products: statistics, losses and small layers stay in float32.
    """

    seq_len: int
    pred_len: int
    num_channels: int
    season_length: int = 1
    time_step: str = "h"
    dtype: torch.dtype = torch.float32


class Forecaster(nn.Module):
    """A model that reads look-back windows and returns forecasts of the same channels.

    `forward(look_back [row, seq_len, channel], **prompt_inputs) -> Forecast(values [row, pred_len, channel])`. A
    channel-independent model is fed one channel of one window a row (channel = 1); any other model all channels of a
    window together. Values in and out are in scaled units. `needs_fixed_channels`: the weights fit only the number of
    channels that they were trained with. `losses_read_target`: in training, `forward` also gets `target=` (scaled,
    [row, pred_len, target_channel]) for the auxiliary losses.
    """

    Config: ClassVar[type]
    channel_independent: ClassVar[bool] = False
    default_loss: ClassVar[str] = "mse"
    needs_time_features: ClassVar[bool] = False
    needs_fixed_channels: ClassVar[bool] = False
    losses_read_target: ClassVar[bool] = False
    # Names (or beginnings of names) of parameters in older checkpoints, and what they are called now.
    renamed_parameters: ClassVar[dict[str, str]] = {}

    @classmethod
    def build(cls, config: Any, spec: ForecastSpec) -> Self:
        """The model that `config` describes, its LLM and tokenizer loaded."""
        raise NotImplementedError

    def prompt_inputs(self, look_back: Float[Tensor, "row seq_len channel"]) -> dict[str, Tensor]:  # noqa: ARG002
        """What depends on a row's data alone, to be computed once per row and handed back to `forward` by name.

        Called on float32 CPU rows, outside the training step, possibly in another thread: it reads no parameter. Each
        tensor has one entry per row; a further axis may differ in length from call to call and is padded with zeros.
        """
        return {}

    @property
    def has_prompt_inputs(self) -> bool:
        """Whether the model defines `prompt_inputs`."""
        return type(self).prompt_inputs is not Forecaster.prompt_inputs

    @property
    def features_are_constant(self) -> bool:
        """Whether `cached_features` of a row would come out the same until `cache_key` changes."""
        return False

    @property
    def cache_key(self) -> int:
        """Changes whenever the parameters that `cached_features` reads have changed."""
        return 0

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """What `forward` takes in place of `prompt_inputs` while `features_are_constant`: computed without graph."""
        return prompt_inputs

    def diagnostics(
        self,
        look_back: Float[Tensor, "row seq_len channel"],  # noqa: ARG002
        **prompt_inputs: Tensor,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Named quantities per row worth seeing before and after training (shown in the report); without graph."""
        return {}

    def start_epoch(self, epoch: int) -> None:
        """Called before each training epoch, counted from 0 (a model may freeze a part of itself then)."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups for the optimiser; a group with `scheduled=False` keeps its rate whatever the schedule says."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": learning_rate, "scheduled": True}]

    def inference_parameters(self) -> int:
        """How many parameters a forecast reads (a branch that serves only the loss is left out)."""
        return sum(p.numel() for p in self.parameters())

    def count_parameters(self) -> dict[str, int]:
        """Parameters held in all, trained, and read by a forecast."""
        return {
            "total": sum(parameter.numel() for parameter in self.parameters()),
            "trainable": sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad),
            "inference": self.inference_parameters(),
        }

    def fingerprint(self) -> dict[str, Any]:
        """What a checkpoint must know to find the frozen parts again (the LLM's name and hash); JSON values only."""
        return {}

    def saved_state(self) -> dict[str, Tensor]:
        """Trainable parameters and persistent buffers, by name: all that a checkpoint has to hold."""
        # A frozen tensor that two branches share has a name in each: all of them are left out.
        frozen = {name for name, p in self.named_parameters(remove_duplicate=False) if not p.requires_grad}
        return {name: tensor for name, tensor in self.state_dict().items() if name not in frozen}

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        """Puts back what `saved_state` returned; names and shapes must match exactly (ValueError)."""
        expected = self.saved_state()
        state = {self._present_name(name): tensor for name, tensor in state.items()}
        if set(state) != set(expected):
            difference = sorted(set(state) ^ set(expected))[:5]
            raise ValueError(f"the checkpoint's parameters are not this model's; they differ in {difference}")
        for name, tensor in state.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(
                    f"the checkpoint's {name} has shape {list(tensor.shape)}, this model's {list(expected[name].shape)}"
                )
        self.load_state_dict(state, strict=False)

    def _present_name(self, name: str) -> str:
        for old, new in self.renamed_parameters.items():
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name
