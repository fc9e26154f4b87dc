"""Where a run computes: the device that is demanded, TF32, and what it says when memory runs out."""

import pytest
import torch

import run
from exp.config import TrackConfig, TrainConfig
from exp.training.memory import out_of_memory
from exp.training.runtime import Runtime, chosen_device
from exp.training.step import TrainingStep
from tests.exp.runs import flags, run_folder

ON_GPU = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.20 GiB is "
    "free. Including non-PyTorch memory, this process has 77.90 GiB memory in use.\nSee documentation"
)


@pytest.fixture(autouse=True)
def tf32_as_it_was():
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_that_is_demanded_and_not_there_is_one_line_and_nothing_is_written(tmp_path, capsys, device):
    assert run.main(flags(tmp_path, "--device", device)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"--device {device} is not there" in error and "--device auto" in error
    assert not (tmp_path / "results").exists()


def test_auto_takes_the_accelerator_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("mps"))
    assert chosen_device("auto") == "mps"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    assert chosen_device("auto") == "cpu"


def test_float32_products_and_convolutions_are_exact_by_default():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    runtime = Runtime(TrainConfig(device="cpu"), TrackConfig())
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert "everything in float32" in runtime.where() and "computing on cpu" in runtime.where()


def test_tf32_on_a_cpu_is_float32_and_recorded_as_such():
    runtime = Runtime(TrainConfig(device="cpu", precision="tf32"), TrackConfig())
    assert (runtime.dtype, runtime.describe()["precision"]) == (torch.float32, "fp32")


def test_metrics_of_a_macs_gpu_are_summed_on_the_cpu():
    runtime = Runtime(TrainConfig(device="cpu"), TrackConfig())
    vars(runtime)["device"] = torch.device("mps")
    assert runtime.metric_device == torch.device("cpu")


def test_running_out_of_memory_is_one_line_with_the_ways_out():
    line = out_of_memory(torch.OutOfMemoryError(ON_GPU))
    assert line is not None and "\n" not in line
    assert "2.00 GiB were asked for" in line and "79.10 GiB" in line and "1.20 GiB free" in line
    for flag in ("--batch_size", "--eval_batch_size", "--row_memory_mb", "--precision bf16"):
        assert flag in line
    on_cpu = out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes.")
    )
    assert on_cpu is not None and "4.00 GiB were asked for" in on_cpu
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_a_run_that_is_out_of_memory_ends_with_one_line_and_goes_on_later(tmp_path, capsys, monkeypatch):
    step, num_steps = TrainingStep.__call__, 0

    def fail_after_some_epochs(self, batch):
        nonlocal num_steps
        num_steps += 1
        if num_steps > 12:
            raise torch.OutOfMemoryError(ON_GPU)
        return step(self, batch)

    monkeypatch.setattr(TrainingStep, "__call__", fail_after_some_epochs)
    assert run.main(flags(tmp_path)) == 1
    assert "error: the GPU is out of memory" in capsys.readouterr().err
    assert (run_folder(tmp_path) / "checkpoint" / "last.safetensors").is_file()
    monkeypatch.setattr(TrainingStep, "__call__", step)
    assert run.main(flags(tmp_path)) == 0
