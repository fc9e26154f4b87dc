"""How a run trains: everything that is neither data nor model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

LONGEST_NAME = 200


@dataclass(frozen=True)
class TrainConfig:
    """Flags of training, seeds, precision, device and the run folder."""

    is_training: int = field(
        default=1, metadata={"help": "1 trains and tests; 0 tests a finished run of the same flags again"}
    )
    model_id: str = field(default="", metadata={"help": "A label of your own at the front of the run id"})
    des: str = field(default="", metadata={"help": "A description of your own at the end of the run id"})
    batch_size: int = field(
        default=32,
        metadata={
            "help": "Rows per step and process: windows, or single channels of windows for a channel-independent model"
        },
    )
    eval_batch_size: int = field(
        default=0, metadata={"help": "Rows per batch in validation and test; 0 means twice --batch_size"}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "The peak learning rate, as it is used"})
    lradj: Literal["halving", "one_cycle", "cosine", "constant"] = field(
        default="halving",
        metadata={
            "help": "Schedule: halving (two epochs at the peak, then half each epoch), one_cycle (over all steps), "
            "cosine (per epoch, see --cosine_epochs) or constant"
        },
    )
    cosine_epochs: int = field(default=20, metadata={"help": "Epochs in which cosine falls to its floor of 1e-8"})
    adam_beta1: float = field(default=0.9, metadata={"help": "Adam's first beta (one_cycle cycles it by itself)"})
    train_epochs: int = field(default=10, metadata={"help": "Epochs at most"})
    patience: int = field(default=10, metadata={"help": "Epochs without a better validation MSE before stopping"})
    loss: Literal["default", "mse", "l1", "smooth_l1", "smape"] = field(
        default="default", metadata={"help": "Training criterion; default is the one of the model's paper"}
    )
    seed: int = field(default=2021, metadata={"help": "Seeds weights, data order and dropout"})
    seeds: list[int] = field(
        default_factory=list, metadata={"help": "Several seeds: one run each, then mean and standard deviation"}
    )
    itr: int = field(default=1, metadata={"help": "Runs with the seeds --seed, --seed + 1, ... (instead of --seeds)"})
    precision: Literal["fp32", "bf16"] = field(
        default="fp32",
        metadata={"help": "Precision of the large matrix products; statistics, losses and metrics stay in float32"},
    )
    deterministic: bool = field(
        default=False, metadata={"help": "Only deterministic algorithms of torch (slower on a GPU)"}
    )
    device: Literal["auto", "cpu"] = field(
        default="auto", metadata={"help": "auto takes the GPUs that there are, cpu none"}
    )
    compile: bool = field(default=False, metadata={"help": "Compile the model with torch.compile"})
    fast_dev_run: bool = field(
        default=False, metadata={"help": "Two batches of everything, to try a command; its results are marked as such"}
    )
    checkpoint_steps: int = field(
        default=0, metadata={"help": "Also save every so many steps within an epoch; 0 saves after each epoch only"}
    )
    row_memory_mb: int = field(
        default=2048,
        metadata={"help": "Memory in MiB for what is computed once per row (prompts, text states); the rest is redone"},
    )
    output_dir: str = field(default="results", metadata={"help": "Where run folders are made"})
    overwrite: bool = field(default=False, metadata={"help": "Run again although a run of the same id is there"})

    def __post_init__(self) -> None:
        positive = ("batch_size", "train_epochs", "patience", "cosine_epochs", "itr", "row_memory_mb")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for name in ("eval_batch_size", "checkpoint_steps", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"--learning_rate must be a positive number, got {self.learning_rate}")
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


# Flags that change where or how fast a run happens, not its result: they are left out of the run id.
NOT_IN_RUN_ID = frozenset(
    {"is_training", "seeds", "itr", "device", "output_dir", "overwrite", "checkpoint_steps", "row_memory_mb",
     "eval_batch_size"}
)  # fmt: skip


def run_id(
    *,
    model: str,
    data: str,
    seq_len: int,
    pred_len: int,
    percent: int,
    train: TrainConfig,
    determinants: Mapping[str, Any],
) -> str:
    """A readable name that ends in a hash of everything that determines the result; it stays a name in any folder."""
    training = {name: value for name, value in asdict(train).items() if name not in NOT_IN_RUN_ID}
    text = json.dumps({**determinants, "train": training}, sort_keys=True, default=str)
    parts = [
        train.model_id, model, data, f"{percent}pct" if percent < 100 else "", str(seq_len), str(pred_len),
        f"seed{train.seed}", train.des, hashlib.sha256(text.encode()).hexdigest()[:8],
    ]  # fmt: skip
    name = re.sub(r"[^\w.+-]+", "-", "_".join(part for part in parts if part)).lstrip(".-")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"the run id would have {len(name.encode())} bytes, more than the {LONGEST_NAME} that a folder's name may "
            "have: shorten --model_id or --des"
        )
    return name
