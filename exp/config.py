"""Training and tracking flags: all that belong to neither data nor model."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import ClassVar, Literal

from transformers.hf_argparser import HfArg


@dataclass(frozen=True)
class TrainConfig:
    """Flags of training, seeds, precision, device and the run folder."""

    # Runs without them keep their ids: at their default they are not part of the run id.
    flags_added_later: ClassVar[tuple[str, ...]] = ("optimizer", "weight_decay", "clip_grad_norm", "cuda_graph")

    is_training: int = HfArg(
        default=1, help="1 trains and tests; 0 tests a finished run of the same flags again", metadata={"role": "place"}
    )
    model_id: str = HfArg(
        default="", help="A name of your own, at the front of the run id and in tables", metadata={"role": "label"}
    )
    des: str = HfArg(
        default="",
        help="A name of your own for a variant, at the end of the run id and in tables",
        metadata={"role": "label"},
    )
    recipe: str = HfArg(
        default="",
        help="Name of the settings that stand before this flag; tables show what follows it as a change of them",
        metadata={"role": "note"},
    )
    batch_size: int = HfArg(
        default=32,
        help="Rows per step and process: windows, or single channels of windows for a channel-independent model",
    )
    eval_batch_size: int = HfArg(
        default=0, help="Rows per batch in validation and test; 0 means twice --batch_size", metadata={"role": "place"}
    )
    learning_rate: float = HfArg(default=1e-3, help="Peak learning rate")
    lradj: Literal["halving", "one_cycle", "cosine", "constant"] = HfArg(
        default="halving",
        help="Schedule: halving (two epochs at the peak, then half each epoch), one_cycle (over all steps), "
        "cosine (per epoch, see --cosine_epochs) or constant",
    )
    cosine_epochs: float = HfArg(
        default=20, help="Epochs in which the cosine falls to 1e-8 (may be 2.5); afterwards it rises again"
    )
    adam_beta1: float = HfArg(default=0.9, help="Adam's beta1 (one_cycle sets its own)")
    optimizer: Literal["adam", "adamw"] = HfArg(
        default="adam", help="Adam, or AdamW (weight decay apart from the gradient)"
    )
    weight_decay: float = HfArg(default=0.0, help="Weight decay: with adam added to the gradient, with adamw apart")
    clip_grad_norm: float = HfArg(default=0.0, help="Scale the gradient down to this norm where it is longer; 0: never")
    train_epochs: int = HfArg(default=10, help="Maximum number of epochs")
    patience: int = HfArg(
        default=10,
        help="Early stopping after this many epochs without a better validation MSE (pinball loss with --quantiles)",
    )
    loss: Literal["default", "mse", "l1", "smooth_l1", "smape", "pinball"] = HfArg(
        default="default", help="Training loss; default is that of the model's paper, or pinball with --quantiles"
    )
    seed: int = HfArg(default=2021, help="Seed of initial weights, data order and dropout", metadata={"role": "label"})
    seeds: list[int] = HfArg(
        default_factory=list,
        help="Several seeds: one run each, then mean and standard deviation",
        metadata={"role": "place"},
    )
    itr: int = HfArg(
        default=1, help="Runs with the seeds --seed, --seed + 1, ... (instead of --seeds)", metadata={"role": "place"}
    )
    precision: Literal["fp32", "tf32", "bf16"] = HfArg(
        default="fp32",
        help="Precision of matrix products (tf32: float32 with rounded factors, on CUDA GPUs only); statistics, losses "
        "and metrics stay in float32",
    )
    deterministic: bool = HfArg(
        default=False,
        help="Use only deterministic algorithms of torch (slower on a GPU)",
        metadata={"role": "numerics"},
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = HfArg(
        default="auto",
        help="auto uses the available GPUs, cpu uses none; cuda and mps stop with an error if there is no such GPU",
        metadata={"role": "place"},
    )
    compile: bool = HfArg(
        default=False,
        help="Compile the model with torch.compile: whole on a CPU, on a GPU its repeated blocks, once for each shape",
        metadata={"role": "numerics"},
    )
    cuda_graph: bool = HfArg(
        default=False,
        help="Replay training steps and forecasts of full batches from CUDA graphs, one for each shape: the same "
        "numbers up to rounding, without the host's time for each launch",
        metadata={"role": "numerics"},
    )
    fast_dev_run: bool = HfArg(
        default=False,
        help="Trial run on two batches of each split; its results are marked as such",
        metadata={"role": "label"},
    )
    checkpoint_steps: int = HfArg(
        default=0,
        help="Also save a checkpoint every this many steps within an epoch; 0 saves after each epoch only",
        metadata={"role": "place"},
    )
    row_memory_mb: int = HfArg(
        default=2048,
        help="Memory in MiB for cached prompts and text features; rows beyond it are recomputed",
        metadata={"role": "place"},
    )
    text_store: str | None = HfArg(
        default=None,
        help="Folder that keeps what a frozen language model says of each text, for later runs (BALM, fixed text)",
        metadata={"role": "place"},
    )
    text_store_gb: float = HfArg(
        default=20.0,
        help="Size limit of --text_store, in GiB; the least recently used part makes room",
        metadata={"role": "place"},
    )
    output_dir: str = HfArg(default="results", help="Folder of the run folders", metadata={"role": "place"})
    overwrite: bool = HfArg(
        default=False, help="Run again even if a run of the same id exists", metadata={"role": "place"}
    )
    allow_other_code: bool = HfArg(
        default=False,
        help="Resume an interrupted run although source files have changed; its results are marked as such",
        metadata={"role": "place"},
    )

    def __post_init__(self) -> None:
        positive = ("batch_size", "train_epochs", "patience", "cosine_epochs", "itr", "row_memory_mb", "text_store_gb")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for name in ("eval_batch_size", "checkpoint_steps", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}")
        if not self.cosine_epochs < float("inf"):
            raise ValueError(f"--cosine_epochs must be a number of epochs, got {self.cosine_epochs}")
        if float(self.cosine_epochs).is_integer():
            # 20 and 20.0 are the same run.
            object.__setattr__(self, "cosine_epochs", int(self.cosine_epochs))
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"--learning_rate must be a positive number, got {self.learning_rate}")
        for name in ("weight_decay", "clip_grad_norm"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"--{name} must be 0 or a positive number, got {getattr(self, name)}")
        if not 0 <= self.adam_beta1 < 1:
            raise ValueError(f"--adam_beta1 must be in 0..1 (1 excluded), got {self.adam_beta1}")
        if self.is_training not in (0, 1):
            raise ValueError(f"--is_training must be 0 or 1, got {self.is_training}")
        if self.seeds and self.itr > 1:
            raise ValueError("--seeds and --itr both say which seeds to run: give one of them")
        if any(seed < 0 for seed in self.seeds):
            raise ValueError(f"--seeds must not be negative, got {self.seeds}")

    @property
    def all_seeds(self) -> list[int]:
        """The seed of every run that the flags ask for."""
        return list(dict.fromkeys(self.seeds)) or [self.seed + number for number in range(self.itr)]

    @property
    def rows_per_evaluation_batch(self) -> int:
        """Rows per batch in validation and test."""
        return self.eval_batch_size or 2 * self.batch_size


@dataclass(frozen=True)
class TrackConfig:
    """Flags of the experiment tracker."""

    track: Literal["none", "wandb", "tensorboard", "trackio"] = HfArg(
        default="none", help="Experiment tracker that also gets curves, tables and plots", metadata={"role": "place"}
    )
    track_project: str = HfArg(default="balm-forecasting", help="Project in the tracker", metadata={"role": "place"})

    def __post_init__(self) -> None:
        if self.track != "none" and importlib.util.find_spec(self.track) is None:
            raise ValueError(f"--track {self.track} needs the package {self.track}: pip install {self.track}")
