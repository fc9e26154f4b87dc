"""Whether a GPU computes what the CPU does: trial runs, differences, resuming, and steps without waits."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import run
from benchmarks.cases import CaseConfig, batches_of, build, llm_settings, step_of, training_step
from exp.predict.forecaster import load_forecaster
from exp.training.loop import TrainingLoop
from models import MODELS, model_class
from utils.run_folder import RunFolder

Rows = list[list[str]]
BALM_FLAGS = ("--precision bf16", "--precision tf32", "--freeze_prompt_after 0", "--deterministic", "--compile")
# A short training, whose three runs take seconds on a GPU: the prompts of a real validation split alone take longer.
SHORT = {"data": "demo", "root_path": "dataset"}
FEW_ROWS = ["--percent", "10", "--eval_batch_size", "512"]
# Not TimesNet, whose shapes depend on what it computes, nor models without weights.
GRAPHED = tuple(name for name in MODELS if name not in ("TimesNet", "LastValue", "SeasonalNaive"))
# What the models need where the language model is narrow.
NARROW = {
    "BALM": ["--d_ff", "16"],
    "CALF": ["--num_components", "16"],
    "TimeLLM": ["--d_ff", "16", "--num_prototypes", "16"],
    "TimeCMA": ["--n_heads", "2", "--prompt_len", "8"],
}


def smoke(config: CaseConfig, *, tiny: bool) -> Iterator[tuple[str, Rows]]:
    """Trial runs of every model, and of BALM with further flags."""
    with tempfile.TemporaryDirectory() as place:
        names = ("BALM", "CALF", "DLinear") if tiny else tuple(MODELS)
        rows = [_trial(config, name, [], place, tiny=tiny) for name in names]
        yield "Trial runs (`--fast_dev_run`) on two batches of each split.", rows
        # Compiling on a CPU takes longer than all the rest.
        flags = [flag for flag in BALM_FLAGS if not (tiny and flag == "--compile")]
        rows = [_trial(config, "BALM", flag.split(), place, tiny=tiny) for flag in flags]
        yield "BALM in other precisions and with other flags.", rows


def resume(config: CaseConfig, *, tiny: bool) -> Iterator[tuple[str, Rows]]:
    """A run that fails and goes on to the same bits, and a run of steps from CUDA graphs; both on the demo set."""
    config = replace(config, **SHORT)
    with tempfile.TemporaryDirectory() as place:
        yield "A run of two epochs that fails in the second and goes on.", [_resumed(config, place, tiny=tiny)]
        for model in GRAPHED if config.device == "cuda" else ():
            yield f"An epoch of {model}'s steps from CUDA graphs.", [_from_graphs(config, model, place)]


def golden(folder: str, device: str) -> Rows:
    """Everything that the models compute of their golden files, with tensors on the device."""
    from tests.parity.__main__ import comparisons, read_golden

    rows = []
    for path in sorted(Path(folder).glob("*.npz")):
        found = comparisons(path.name.partition("_")[0], read_golden(path), device=device)
        nearest = max(found, key=lambda one: one.difference / max(one.tolerance, 1e-30))
        near = f"{nearest.name} {nearest.difference:.1e} of {nearest.tolerance:.0e}"
        rows.append([path.name, f"{sum(one.holds for one in found)} of {len(found)}", near])
    return rows


def parity(config: CaseConfig) -> Rows:
    """Forecasts and gradients on the device against those of the CPU, with the same weights and batches."""
    rows = []
    for model in ("BALM", "CALF"):
        on_cpu = _forecast_and_gradient(replace(config, model=model, device="cpu"), "transformers")
        for way in ("transformers", "packed", "bf16") if model == "BALM" else ("fp32", "bf16"):
            found = _forecast_and_gradient(replace(config, model=model), way)
            rows.append([f"{model}, {way}", *(f"{_distance(a, b):.1e}" for a, b in zip(found, on_cpu, strict=True))])
    return rows


def waits_in_a_step(config: CaseConfig) -> Rows:
    """Training steps in which torch raises an error where the host waits for the GPU; on a CPU nothing can wait."""
    rows = []
    for model in ("BALM", "CALF"):
        work = training_step(replace(config, model=model), "fp32")
        work()
        work()
        rows.append([model, _without_waits(work, on_gpu=config.device == "cuda")])
    return rows


def checkpoint_on_both(config: CaseConfig) -> Rows:
    """A model trained on the device forecasts the end of its table on the device and on the CPU."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for number, model in enumerate(("BALM", "CALF")):
            output = f"{place}/{number}"
            code = _run(_command(config, model, ["--fast_dev_run", "--output_dir", output], tiny=config.llm_width < 64))
            if code != 0:
                rows.append([model, f"exit code {code}"])
                continue
            (folder,) = Path(output).iterdir()
            found = [_forecast_of(folder, device) for device in ("cpu", config.device)]
            rows.append([model, f"{np.abs(found[1] - found[0]).max() / np.abs(found[0]).max():.1e}"])
    return rows


def _forecast_of(folder: Path, device: str) -> np.ndarray:
    forecaster = load_forecaster(folder, device=device)
    number = forecaster.data.seq_len
    waves = np.sin(np.arange(number)[:, None] / (4 + np.arange(len(forecaster.columns))))
    look_back = torch.from_numpy(waves).float()
    rows = look_back.T[:, :, None] if forecaster.model.channel_independent else look_back[None]
    inputs = forecaster.model.prompt_inputs(rows) if forecaster.model.has_prompt_inputs else {}
    place = torch.device(device)
    with torch.no_grad():
        values = forecaster.model(rows.to(place), **{name: value.to(place) for name, value in inputs.items()}).values
    return values.float().cpu().numpy()


def _without_waits(work: Callable[[], object], *, on_gpu: bool) -> str:
    try:
        if on_gpu:
            torch.cuda.set_sync_debug_mode("error")
        work()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        if on_gpu:
            torch.cuda.set_sync_debug_mode("default")
    return "no wait" if on_gpu else "not checked on a CPU"


def _trial(config: CaseConfig, model: str, more: Sequence[str], place: str, *, tiny: bool) -> list[str]:
    name = " ".join([model, *more])
    output = f"{place}/{name.replace(' ', '_')}"
    began = time.perf_counter()
    code = _run(_command(config, model, [*more, "--fast_dev_run", "--output_dir", output], tiny=tiny))
    return [name, "done" if code == 0 else f"exit code {code}", f"{time.perf_counter() - began:.1f}"]


def _resumed(config: CaseConfig, place: str, *, tiny: bool) -> list[str]:
    """Histories of a run in one go and of one that failed in its second epoch: equal to the last digit, or not."""
    began, histories = time.perf_counter(), []
    more = ["--deterministic", "--train_epochs", "2", *(["--percent", "2"] if tiny else FEW_ROWS)]
    for name in ("at once", "resumed"):
        command = _command(config, "BALM", [*more, "--output_dir", f"{place}/{name}"], tiny=tiny)
        if name == "resumed":
            with patch.object(TrainingLoop, "_train_epoch", _failing_after_the_first(TrainingLoop._train_epoch)):
                _run(command)
        if (code := _run(command)) != 0:
            return [f"BALM --deterministic, {name}", f"exit code {code}", f"{time.perf_counter() - began:.1f}"]
        (folder,) = Path(place, name).iterdir()
        histories.append(RunFolder(folder).history.read_text().splitlines())
    result = "the same to the last digit" if histories[0] == histories[1] else "**another result**"
    return ["BALM --deterministic, resumed", result, f"{time.perf_counter() - began:.1f}"]


def _from_graphs(config: CaseConfig, model: str, place: str) -> list[str]:
    """Losses of an epoch whose steps are replayed from graphs, beside those of steps launched one by one."""
    began, losses = time.perf_counter(), []
    for name, flags in (("launched", []), ("graph", ["--cuda_graph"])):
        output = Path(place, model, name)
        more = ["--train_epochs", "1", *FEW_ROWS, "--output_dir", str(output), *flags]
        code = _run(_command(config, model, more, tiny=False))
        if code != 0:
            return [" ".join([model, *flags]), f"exit code {code}", ""]
        (folder,) = output.iterdir()
        epoch = json.loads(RunFolder(folder).history.read_text().splitlines()[0])
        losses.append(f"loss {epoch['train']['loss']:.6f}, validation MSE {epoch['validation']['mse']:.6f}")
    result = f"{losses[1]}; launched one by one {losses[0]}"
    return [f"{model} --cuda_graph", result, f"{time.perf_counter() - began:.1f}"]


def _failing_after_the_first(train_epoch: Callable[..., None]) -> Callable[..., None]:
    """Training of an epoch that runs out of memory in every epoch but the first."""

    def failing(loop: TrainingLoop, *given: object) -> None:
        if loop.progress.epoch > 0:
            raise torch.OutOfMemoryError("planned, to check that a run goes on")
        train_epoch(loop, *given)

    return failing


def _command(config: CaseConfig, model: str, more: Sequence[str], *, tiny: bool) -> list[str]:
    reads_llm = hasattr(model_class(model).Config, "llm_layers")
    llm = [word for name, value in llm_settings(config).items() if value for word in (f"--{name}", str(value))]
    sizes = ["--seq_len", str(config.seq_len), "--pred_len", str(config.pred_len), "--batch_size", "8"]
    data = ["--data", config.data, "--root_path", config.root_path, "--device", config.device]
    own = [*(llm if reads_llm else []), *(NARROW.get(model, []) if tiny else [])]
    return ["--model", model, *own, *sizes, *data, *more]


def _run(command: Sequence[str]) -> int:
    """Exit code of a command, without its pages on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        return run.main(list(command))


def _forecast_and_gradient(config: CaseConfig, way: str) -> tuple[Tensor, Tensor]:
    """The forecast of a batch in evaluation mode, and the gradient of its mean square, on the CPU in float32."""
    model = build(config, way).eval()
    batch = batches_of(config, model)[0]
    values = step_of(model, config, way).forward(batch.look_back, **batch.inputs).values.float()
    values.square().mean().backward()
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return values.detach().cpu(), torch.cat(gradients).float().cpu()


def _distance(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()
