"""Device, seed, precision, processes and the run folder of an experiment: nothing else knows any of them."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor, nn

from data_provider.config import DataConfig
from data_provider.row_store import MemoryBudget
from exp.config import TrainConfig
from exp.processes import StoppedElsewhere
from exp.run_folder import RunFolder
from models.base import Forecaster
from utils.lock import FolderLock
from utils.tracking import TrackConfig, Tracking

logger = logging.getLogger(__name__)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """Everything that the flags said."""

    task_name: str
    model_name: str
    model_class: type[Forecaster]
    data: DataConfig
    model: Any
    train: TrainConfig
    track: TrackConfig
    task: tuple[Any, ...] = ()
    command: tuple[str, ...] = ()

    def with_seed(self, seed: int) -> Settings:
        """The same settings for one run of several; a trial run (`--fast_dev_run`) has one epoch."""
        epochs = 1 if self.train.fast_dev_run else self.train.train_epochs
        return replace(self, train=replace(self.train, seed=seed, seeds=[], itr=1, train_epochs=epochs))

    def record(self) -> dict[str, Any]:
        """Every flag as JSON values, as config.json and checkpoints keep them."""
        return {
            "task_name": self.task_name,
            "model": self.model_name,
            "data_config": asdict(self.data),
            "model_config": asdict(self.model),
            "train_config": asdict(self.train),
            "task_config": {name: value for config in self.task for name, value in asdict(config).items()},
        }


class Runtime:
    """Where a run computes: accelerate's device, precision and processes, and the random numbers of each step."""

    def __init__(self, train: TrainConfig, track: TrackConfig):
        self.seed = train.seed
        self.deterministic = train.deterministic
        self.compile = train.compile
        self.row_memory = MemoryBudget(train.row_memory_mb * 2**20)
        if train.deterministic:
            # cuBLAS reads it when it is first used; without it torch refuses matrix products on a GPU.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.accelerator = Accelerator(
            # Where there is no GPU a launcher's processes find each other only when accelerate is told so.
            cpu=train.device == "cpu" or not torch.accelerator.is_available(),
            mixed_precision="bf16" if train.precision == "bf16" else "no",
            log_with=track.track if track.track != "none" else None,
            project_dir=train.output_dir if track.track != "none" else None,
            # A model may freeze a part of itself during training, or leave one out of its loss. Buffers that change
            # in training (running statistics) are the first process's in all of them.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=True)],
        )
        self.device = self.accelerator.device
        self.dtype = DTYPES[train.precision]
        self.num_processes = self.accelerator.num_processes
        self.process_index = self.accelerator.process_index
        self.is_main = self.accelerator.is_main_process

    def seed_everything(self) -> None:
        """The same weights in every process and on every run with this seed."""
        set_seed(self.seed)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = False

    def seed_step(self, epoch: int, step: int) -> None:
        """Random numbers of a step follow from seed, epoch, step and process alone, so a resumed run draws the same."""
        text = f"{self.seed}/{epoch}/{step}/{self.process_index}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))

    def wrap(self, model: Forecaster) -> nn.Module:
        """`model` on the device, under this run's precision, and spread over its processes for training."""
        model.to(self.device)
        if self.compile:
            model.compile(dynamic=True)
        trainable = any(parameter.requires_grad for parameter in model.parameters())
        return self.accelerator.prepare_model(model, evaluation_mode=not trainable)

    def autocast(self) -> Any:
        """The precision of this run, for forward passes outside training."""
        return self.accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, averaged over processes."""
        self.accelerator.backward(loss)

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, in every process."""
        return value if self.num_processes == 1 else self.accelerator.reduce(value, "sum")  # pyright: ignore

    def any_process(self, condition: bool) -> bool:
        """Whether `condition` holds in any process; every process learns the same answer."""
        if self.num_processes == 1:
            return condition
        return bool(self.sum_over_processes(torch.tensor(float(condition), device=self.device)).item())

    def counts_of_processes(self, own: Mapping[str, float]) -> list[dict[str, float]]:
        """What `own` is in each process, in their order; the names must be the same in all."""
        names = sorted(own)
        table = torch.zeros(self.num_processes, len(names), dtype=torch.float64, device=self.device)
        table[self.process_index] = torch.tensor([own[name] for name in names], dtype=torch.float64)
        return [dict(zip(names, row, strict=True)) for row in self.sum_over_processes(table).tolist()]

    def share_buffers(self, model: Forecaster) -> None:
        """Gives every process the first one's running statistics, so that all evaluate the same model."""
        if self.num_processes > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def together(self, action: Callable[[], object]) -> None:
        """Runs `action` in every process; where it fails in any, all of them stop.

        A process whose own action failed raises that error, unless the main process has one to raise; the others
        raise StoppedElsewhere.
        """
        error = None
        try:
            action()
        except Exception as found:
            error = found
        if self.any_process(error is not None):
            main_fails = self.any_process(self.is_main and error is not None)
            raise error if error is not None and (self.is_main or not main_fails) else StoppedElsewhere

    def on_main(self, action: Callable[[], object]) -> None:
        """Runs `action` in the main process while the others wait; where it fails, all of them stop (`together`)."""
        self.together(action if self.is_main else lambda: None)

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()

    def describe(self) -> dict[str, Any]:
        """What metrics.json says of the machine."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        return {
            "device": self.device.type,
            "device_name": name,
            "precision": "bf16" if self.dtype == torch.bfloat16 else "fp32",
            "num_processes": self.num_processes,
        }


class Experiment:
    """One kind of experiment. Built without writing anything; `run` then trains, tests and fills the run folder."""

    task_configs: ClassVar[tuple[type, ...]] = ()
    folder: RunFolder

    def __init__(self, settings: Settings):
        self.settings = settings
        self.runtime = Runtime(settings.train, settings.track)
        self.runtime.seed_everything()
        self.tracking = Tracking(settings.track, self.runtime.accelerator, is_main=self.runtime.is_main)  # pyright: ignore

    def run(self) -> dict[str, Any]:
        """Trains and tests; returns what metrics.json holds."""
        raise NotImplementedError

    def closing_text(self, metrics: dict[str, Any]) -> str:
        """What a person reads at the end of the run."""
        raise NotImplementedError

    @contextmanager
    def folder_taken(self, record: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Holds the run folder against other processes; `record` goes into its config.json.

        Refuses (OSError) a folder that another run is in, and one that not every process of this run can see.
        """
        with ExitStack() as held:
            self.runtime.on_main(lambda: self._take_folder(held, record))
            if self.runtime.any_process(not self.folder.config.exists()):
                raise FileNotFoundError(
                    f"--output_dir {self.settings.train.output_dir} is not the same folder for all processes: name "
                    "one that every machine of this run sees"
                )
            yield

    def _take_folder(self, held: ExitStack, record: Mapping[str, Any] | None) -> None:
        self.folder.create()
        held.enter_context(FolderLock(self.folder.path))
        self.folder.prepare(starts_anew=self.settings.train.overwrite and record is not None)
        if record is not None:
            self.folder.write_config({**record, "command": list(self.settings.command)})

    def folder_for(self, run_id: str) -> RunFolder:
        """The run folder, with the refusal of a run that is finished already (ValueError)."""
        train = self.settings.train
        folder = RunFolder(Path(train.output_dir) / run_id)
        if folder.is_finished and train.is_training and not train.overwrite:
            raise FinishedRun(folder)
        if not folder.is_finished and not train.is_training:
            raise ValueError(f"--is_training 0 tests a finished run, but {folder.path} holds none: train it first")
        return folder


class FinishedRun(ValueError):
    """A run of the same id is there already; it is kept."""

    def __init__(self, folder: RunFolder):
        super().__init__(
            f"{folder.path} holds a finished run of exactly these flags, which is kept: give --overwrite to run it "
            "again, --is_training 0 to test it again, or another --seed or --des for a run beside it"
        )
        self.folder = folder


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
