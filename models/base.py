"""Base class of all models: the interface that training, evaluation and prediction rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Forecast:
    """Output of a model: the forecast and, in training mode, weighted auxiliary losses by name.

    `criterion_weight` multiplies the training criterion of the forecast itself. `quantiles` are those of
    `Forecaster.quantiles`, in ascending order and never crossing; `values` are then the median.
    """

    values: Float[Tensor, "row pred_len channel"]
    auxiliary_losses: dict[str, Tensor] = field(default_factory=dict)
    criterion_weight: float = 1.0
    quantiles: Float[Tensor, "row pred_len channel quantile"] | None = None

    def on_targets(
        self, keep_targets: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, "row pred_len target"], Float[Tensor, "row pred_len target quantile"] | None]:
        """Values and quantiles in float32 of the channels that `keep_targets` selects along the last axis."""
        values, quantiles = keep_targets(self.values.float()), self.quantiles
        if quantiles is not None:
            quantiles = keep_targets(quantiles.float().transpose(2, 3).flatten(1, 2))
            quantiles = quantiles.unflatten(1, (values.shape[1], -1)).transpose(2, 3)
        return values, quantiles


@dataclass(frozen=True)
class ForecastSpec:
    """What a model needs to know of the task to be built.

    `season_length` is the number of time steps of the main seasonal cycle (24 for hourly data), `num_time_features`
    that of calendar features for `time_step`. `dtype` is the precision of the large matrix products; statistics, losses
    and small layers stay in float32. For prompts: the data set's name, a sentence about it, those that the published
    code of Time-LLM and of UniTime (`instruction`) gives, and each channel's scale (one scaled unit in original units).
    `num_known_future` is the number of columns whose future is known and that the model reads beside the channels;
    `target_channel` is the only channel that is evaluated of several (`--features MS`), else None; `device` is where
    the model will compute. `quantiles` are the levels to forecast besides the values (`--quantiles`), or none.
    """

    seq_len: int
    pred_len: int
    num_channels: int
    season_length: int = 1
    time_step: str = "h"
    dtype: torch.dtype = torch.float32
    data: str = ""
    description: str = ""
    published_description: str = ""
    channel_scales: tuple[float, ...] = ()
    num_time_features: int = 4
    instruction: str = ""
    target_channel: int | None = None
    num_known_future: int = 0
    device: torch.device = CPU
    quantiles: tuple[float, ...] = ()

    @property
    def num_outputs(self) -> int:
        """Outputs of a head for each channel: the horizon, once for each quantile (see `Forecaster.forecast_of`)."""
        return self.pred_len * max(1, len(self.quantiles))


class Forecaster(nn.Module):
    """Base class of all models: look-back windows in, forecasts of the same channels out.

    `forward(look_back [row, seq_len, channel], **prompt_inputs) -> Forecast(values [row, pred_len, channel])`, all in
    scaled units. A row is one channel of one window for a channel-independent model (channel = 1), otherwise a window
    with all its channels.

    `needs_time_features`: `forward` also gets `time_features=` [row, seq_len + pred_len, feature].
    `prompts_read_original`: `prompt_inputs` also gets the look-back in original units and its dates.
    `needs_fixed_channels`: the weights depend on the number of channels.
    `losses_read_target`: in training, `forward` also gets `target=` (scaled, [row, pred_len, target_channel]) for the
    auxiliary losses.
    `shapes_depend_on_values`: what a batch holds decides which shapes are computed, which no CUDA graph can hold.
    `forecasts_quantiles`: the model can forecast the quantiles that its `ForecastSpec` names; `self.quantiles` are the
    levels.
    `may_leave_parameters_out`: some trainable parameters may get no gradient in a step (frozen later, or in no loss).
    Several processes then look for them in every step, and torch complains if there are none.
    `reads_known_future`: the Config has a flag `known_future` with names of columns; where it is given, `forward` also
    gets `known_future=` [row, seq_len + pred_len, column], their scaled values in the look-back and the horizon.
    `code_flag`: the flag with a folder of code that the model runs. A checkpoint never says where such code lies: to
    forecast with it the user gives the flag again, and files with other hashes than in training are refused.
    """

    Config: ClassVar[type]
    channel_independent: ClassVar[bool] = False
    default_loss: ClassVar[str] = "mse"
    needs_time_features: ClassVar[bool] = False
    prompts_read_original: ClassVar[bool] = False
    needs_fixed_channels: ClassVar[bool] = False
    shapes_depend_on_values: ClassVar[bool] = False
    losses_read_target: ClassVar[bool] = False
    forecasts_quantiles: ClassVar[bool] = False
    quantiles: tuple[float, ...] = ()
    may_leave_parameters_out: bool = True
    reads_known_future: ClassVar[bool] = False
    code_flag: ClassVar[str] = ""
    # Parameter names (or prefixes) in old checkpoints -> current names.
    renamed_parameters: ClassVar[dict[str, str]] = {}

    @classmethod
    def build(cls, config: Any, spec: ForecastSpec) -> Self:
        """Build the model from its config; loads its LLM and tokenizer, if any."""
        raise NotImplementedError

    @classmethod
    def restore(cls, config: Any, spec: ForecastSpec, *, code: Mapping[str, str]) -> Self:  # noqa: ARG003
        """`build` for a checkpoint; `code` is what `code_hashes` said in training. Raises ValueError for other code."""
        return cls.build(config, spec)

    def code_hashes(self) -> dict[str, str]:
        """File -> SHA-256 of the code outside this library that the model runs; empty if there is none."""
        return {}

    @classmethod
    def build_joint(cls, config: Any, tasks: Sequence[ForecastSpec], strides: Sequence[int] | None = None) -> Self:
        """Build one model for several data sets; only defined by models for which that has a meaning.

        `forward` then also gets `task=`, the data set's number, and `horizon=`, both on the CPU.
        """
        raise NotImplementedError

    def prompt_inputs(self, look_back: Float[Tensor, "row seq_len channel"]) -> dict[str, Tensor]:  # noqa: ARG002
        """Inputs that depend only on a row's data: computed once per row and passed to `forward` as keyword arguments.

        Called with float32 CPU rows, outside the training step, possibly in another thread, so it must not read
        parameters. Tensors have one entry per row; a second axis may vary in length between calls and is zero-padded.
        With `prompts_read_original` it is also given `original=` (float64, [row, seq_len, channel], in original units)
        and `times=` (int64, [row, seq_len], nanoseconds since 1970).
        """
        return {}

    def forecast_of(
        self, outputs: Float[Tensor, "row output channel"], auxiliary_losses: dict[str, Tensor] | None = None
    ) -> Forecast:
        """The forecast that a head with `ForecastSpec.num_outputs` outputs makes, in the units of the outputs.

        With quantiles the outputs are one horizon after another, sorted by size at each step so that none cross
        (Chernozhukov et al., Econometrica 2010).
        """
        if not self.quantiles:
            return Forecast(outputs, auxiliary_losses or {})
        horizons = outputs.unflatten(1, (len(self.quantiles), -1)).movedim(1, -1)
        quantiles = horizons.sort(dim=-1).values
        return Forecast(quantiles[..., self.quantiles.index(0.5)], auxiliary_losses or {}, quantiles=quantiles)

    @property
    def has_prompt_inputs(self) -> bool:
        """Whether the model defines `prompt_inputs`."""
        return type(self).prompt_inputs is not Forecaster.prompt_inputs

    @property
    def permutes_prompts(self) -> bool:
        """Whether a row gets the prompt inputs of another row of its split, by a fixed permutation (a control)."""
        return False

    def time_feature_step(self, time_step: str) -> str:
        """The time step whose calendar features the model reads; by default `time_step`, that of the data."""
        return time_step

    @property
    def features_are_constant(self) -> bool:
        """Whether `cached_features` of a row can be cached as long as `cache_key` is unchanged."""
        return False

    @property
    def cache_key(self) -> int:
        """Changes whenever a parameter changes that `cached_features` depends on."""
        return 0

    def features_identity(self) -> dict[str, Any]:
        """What `cached_features` depend on besides a row's inputs, as JSON values; empty: never stored on disk."""
        return {}

    def cached_features(self, **prompt_inputs: Tensor) -> dict[str, Tensor]:
        """Inputs of `forward` that replace `prompt_inputs` while `features_are_constant`; without gradient."""
        return prompt_inputs

    def diagnostics(
        self,
        look_back: Float[Tensor, "row seq_len channel"],  # noqa: ARG002
        **prompt_inputs: Tensor,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Per-row quantities that the report shows before and after training; without gradient."""
        return {}

    def chance_losses(self, batch_size: int) -> dict[str, float]:  # noqa: ARG002
        """Auxiliary loss -> its weighted value for a model that knows nothing, in batches of `batch_size` rows.

        Plots, logs and the report show it beside the loss.
        """
        return {}

    def compile_blocks(self, **how: Any) -> str | None:  # noqa: ARG002
        """Compile what the model itself knows to compile, with these arguments of torch.compile, and say what.

        None: it knows nothing, so what it repeats is compiled.
        """
        return None

    def start_epoch(self, epoch: int) -> None:
        """Hook before each training epoch, counted from 0 (e.g. to freeze parameters)."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Parameter groups for Adam; `scheduled=False` keeps a group's learning rate constant.

        A group may have options of its own: `weight_decay` with `decoupled_weight_decay=True` makes it AdamW,
        `cosine_floor` is the lowest rate of its cosine.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": learning_rate, "scheduled": True}]

    @property
    def max_gradient_norm(self) -> float | None:
        """Norm of all gradients together to which they are scaled down before each step; None: never."""
        return None

    def inference_parameters(self) -> int:
        """Number of parameters used for a forecast (without branches that serve only the loss)."""
        return sum(p.numel() for p in self.parameters())

    def count_parameters(self) -> dict[str, int]:
        """Number of parameters: in total, trainable, and used for a forecast."""
        return {
            "total": sum(parameter.numel() for parameter in self.parameters()),
            "trainable": sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad),
            "inference": self.inference_parameters(),
        }

    @property
    def random_llm_is_a_control(self) -> bool:
        """Whether random weights of the LLM were chosen as a control, which is a result and not a trial."""
        return False

    def fingerprint(self) -> dict[str, Any]:
        """Identity of the frozen parts that a checkpoint leaves out (e.g. the LLM's name and hash), as JSON values."""
        return {}

    def saved_state(self) -> dict[str, Tensor]:
        """State dict for checkpoints: trainable parameters and persistent buffers."""
        # A frozen tensor shared by two branches has one name in each: leave out all of them.
        frozen = {name for name, p in self.named_parameters(remove_duplicate=False) if not p.requires_grad}
        return {name: tensor for name, tensor in self.state_dict().items() if name not in frozen}

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        """Load a state from `saved_state`; ValueError unless names and shapes match exactly."""
        expected = self.saved_state()
        state = {self._present_name(name): tensor for name, tensor in state.items()}
        if set(state) != set(expected):
            difference = sorted(set(state) ^ set(expected))[:5]
            raise ValueError(f"the checkpoint's parameters do not match this model's; they differ in {difference}")
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
