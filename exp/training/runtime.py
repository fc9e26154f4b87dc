"""Device, seeds, precision and ranks of a run."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor, nn

from data_provider.batches.memory_budget import MemoryBudget
from exp.config import TrackConfig, TrainConfig
from exp.training.compiled import compile_for_gpu
from exp.training.processes import SECONDS_TO_REPORT, StoppedElsewhere, delay_termination
from models.base import Forecaster
from utils.signals import unheard

logger = logging.getLogger(__name__)
# What torch.compile starts on a CPU, by platform.
_CPP_COMPILERS = {"darwin": ["clang++"], "win32": ["cl"]}.get(sys.platform, ["g++"])
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


class Runtime:
    """Device, precision and ranks of a run, through accelerate, and the seed of each step."""

    def __init__(self, train: TrainConfig, track: TrackConfig):
        self.seed = train.seed
        self.deterministic = train.deterministic
        self.compile = train.compile
        self.cuda_graph = train.cuda_graph
        self.row_memory = MemoryBudget(train.row_memory_mb * 2**20)
        if train.deterministic:
            # Deterministic matrix products on a GPU need this before cuBLAS is first used.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        on_cpu = chosen_device(train.device) == "cpu"
        self.dtype = dtype_of(train.precision, on_cpu=on_cpu)
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            # accelerate keeps precision and device of the first run of a process; a notebook trains several.
            AcceleratorState._reset_state(reset_partial_state=True)
        # Buffers (running statistics) are those of rank 0 on all ranks.
        self.distributed = DistributedDataParallelKwargs(broadcast_buffers=True)
        with unheard():  # where other ranks are waited for
            self.accelerator = Accelerator(
                # Without a GPU, ranks find each other only if accelerate is told to use the CPU.
                cpu=on_cpu,
                mixed_precision="bf16" if self.dtype == torch.bfloat16 else "no",
                log_with=track.track if track.track != "none" else None,
                project_dir=train.output_dir if track.track != "none" else None,
                kwargs_handlers=[self.distributed],
            )
        self.device = self.accelerator.device
        if train.compile:
            check_compiler(self.device)
        self.has_tf32 = set_tf32(train.precision == "tf32" and self.device.type == "cuda")
        if train.precision == "tf32" and not self.has_tf32:
            logger.info("--precision tf32: only CUDA GPUs have TF32, so this run computes in float32")
        self.num_processes = self.accelerator.num_processes
        self.rank = self.accelerator.process_index
        self.is_main = self.accelerator.is_main_process
        if self.num_processes > 1:
            delay_termination(SECONDS_TO_REPORT)

    @property
    def metric_device(self) -> torch.device:
        """Where metrics are summed up in float64, which a Mac's GPU does not have."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def where(self) -> str:
        """Where this run computes, and with which precision, in one line."""
        ranks = f" on each of {self.num_processes} processes" if self.num_processes > 1 else ""
        return f"computing on {self.device.type} ({self._device_name()}){ranks}, {self._precision()}"

    def _precision(self) -> str:
        products = "products in bf16, the rest" if self.dtype == torch.bfloat16 else "everything"
        tf32 = f", TF32 {'on' if self.has_tf32 else 'off'}" if self.device.type == "cuda" else ""
        return f"{products} in float32{tf32}"

    def _device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()

    def seed_everything(self) -> None:
        """Seed all random generators, for the same initial weights on all ranks."""
        set_seed(self.seed)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = False

    def seed_step(self, epoch: int, step: int) -> None:
        """Seed a step from seed, epoch, step and rank alone, so that a resumed run draws the same random numbers."""
        text = f"{self.seed}/{epoch}/{step}/{self.rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))

    def wrap(self, model: Forecaster) -> nn.Module:
        """Move `model` to the device, and wrap it for precision and distributed training."""
        model.to(self.device)
        if self.compile:
            logger.info("--compile: %s", self._compile(model))
        self.distributed.find_unused_parameters = model.may_leave_parameters_out
        trainable = any(parameter.requires_grad for parameter in model.parameters())
        return self.accelerator.prepare_model(model, evaluation_mode=not trainable)

    def _compile(self, model: Forecaster) -> str:
        """Compile `model` as it suits the device, and say what was compiled."""
        if self.device.type == "cpu":
            model.compile(dynamic=True)
            return "the whole model is compiled, once for all shapes"
        return f"{compile_for_gpu(model)} is compiled, whole, once for each shape"

    def has_graphs_for(self, model: Forecaster) -> bool:
        """Whether training steps and forecasts of `model` are replayed from CUDA graphs here (`--cuda_graph`)."""
        return self.cuda_graph and not self._why_no_graphs(model)

    def _why_no_graphs(self, model: Forecaster) -> str:
        if model.shapes_depend_on_values:
            return f"the shapes of {type(model).__name__} depend on the values of its rows"
        if not any(True for _ in model.parameters()):
            return f"{type(model).__name__} has no weights"
        if self.num_processes > 1:
            return "steps of several processes are not recorded"
        return "only CUDA GPUs have graphs" if self.device.type != "cuda" else ""

    def say_why_no_graphs(self, model: Forecaster) -> None:
        """Log why `--cuda_graph` has no effect on `model`, if so."""
        if self.cuda_graph and (reason := self._why_no_graphs(model)):
            logger.info("--cuda_graph: %s, so every step is launched as usual", reason)

    def autocast(self) -> Any:
        """Autocast context of this run, for forward passes outside training."""
        return self.accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Backward pass; gradients are averaged over ranks."""
        self.accelerator.backward(loss)

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """The sum of `value` over all ranks."""
        return value if self.num_processes == 1 else self.accelerator.reduce(value, "sum")  # pyright: ignore

    def any_process(self, condition: bool) -> bool:
        """Whether `condition` holds on any rank; the same answer on all ranks."""
        if self.num_processes == 1:
            return condition
        return bool(self.sum_over_processes(torch.tensor(float(condition), device=self.device)).item())

    def share_buffers(self, model: Forecaster) -> None:
        """Broadcast the buffers (running statistics) of rank 0, so that all ranks evaluate the same model."""
        if self.num_processes > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def run_on_all_ranks(self, action: Callable[[], object]) -> None:
        """Run `action` on all ranks; if it fails on any, all raise.

        If rank 0 fails, only rank 0 raises its error; otherwise each failing rank raises its own. The other ranks raise
        StoppedElsewhere.
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
        """Run `action` on rank 0 while the others wait; if it fails, all ranks raise (see `run_on_all_ranks`)."""
        self.run_on_all_ranks(action if self.is_main else lambda: None)

    def wait(self) -> None:
        """Wait for all ranks."""
        self.accelerator.wait_for_everyone()

    def describe(self) -> dict[str, Any]:
        """Device, precision and number of ranks, for metrics.json."""
        return {
            "device": self.device.type,
            "device_name": self._device_name(),
            "precision": "bf16" if self.dtype == torch.bfloat16 else "tf32" if self.has_tf32 else "fp32",
            "num_processes": self.num_processes,
        }


def chosen_device(device: str) -> str:
    """The kind of device that `--device` means here. Raises ValueError if the one it demands is not there."""
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return "cpu" if accelerator is None else accelerator.type
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not found[device]:
        there = ", ".join(name for name, is_there in found.items() if is_there)
        raise ValueError(
            f"--device {device} is not there (torch {torch.__version__} finds {there}): install a torch built for it "
            "and check its driver, or give --device auto"
        )
    return device


def set_tf32(allowed: bool) -> bool:
    """Allow or forbid TF32 in matrix products and convolutions: torch by default forbids it only in products."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    return allowed


@functools.cache
def dtype_of(precision: str, *, on_cpu: bool) -> torch.dtype:
    """The dtype of matrix products; bf16 falls back to float32, with a log line, on a CPU without bfloat16."""
    if precision == "bf16" and on_cpu and not cpu_multiplies_bfloat16():
        logger.info("--precision bf16: this CPU has no bfloat16 products, so it computes in float32 and is no faster")
        return torch.float32
    return DTYPES[precision]


@functools.cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether oneDNN has a bfloat16 matrix product for this CPU; torch's own is 100 times slower than float32.

    torch has no public API for this, so try a tiny product.
    """
    probe = torch.zeros(2, 2, dtype=torch.bfloat16)
    try:
        torch.ops.mkldnn._linear_pointwise(probe, probe, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return True


def check_compiler(device: torch.device) -> None:
    """Check that the compiler that torch.compile starts is there. Raises ValueError."""
    variable, usual = ("CC", ["gcc", "clang"]) if device.type == "cuda" else ("CXX", _CPP_COMPILERS)
    chosen = shlex.split(os.environ.get(variable, ""))[:1] or usual
    if not any(shutil.which(name) for name in chosen):
        raise ValueError(
            f"--compile needs a {'C' if variable == 'CC' else 'C++'} compiler, but {' or '.join(chosen)} is not found: "
            f"install one, name another in the environment variable {variable}, or leave --compile away"
        )


def cpu_name() -> str:
    """Name of the CPU and its number of threads."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_bytes(device: torch.device) -> dict[str, int]:
    """Peak resident size of the process so far, and peak memory that torch allocated on its GPU (0 on a CPU)."""
    return {
        "host": _peak_resident_bytes(),
        "device": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
    }


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource  # Unix only

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
