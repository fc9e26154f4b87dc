"""Checkpoints as single safetensors files: tensors beside a JSON header, no pickle, replaced in one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utils.files import DamagedFile, replace_file
from utils.records import check_alike

HEADER = "json"
SCHEDULED = ("lr", "betas")
# Tensors of Adam's state that have the shape of their parameter; any other is a single number.
SHAPED_LIKE_PARAMETER = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq"})


def save_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Writes `tensors` and the JSON values of `header` to `path`, or leaves what was there untouched (CannotWrite)."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_file(path, save(on_cpu, metadata={HEADER: json.dumps(header)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header that `save_checkpoint` wrote; a DamagedFile names a file that is no such thing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the run was stopped before its first checkpoint, or moved")
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportArgumentType]
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata[HEADER])
        if not isinstance(header, dict):
            raise TypeError("its header is no JSON object")
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, OSError) as error:
        raise DamagedFile(f"{path} is not a checkpoint of this library, or is damaged ({_line(error)})") from error
    return tensors, header


def damaged_checkpoint(path: Path, error: BaseException) -> DamagedFile:
    """What to raise when the content of a checkpoint does not fit the run that it lies in."""
    return DamagedFile(
        f"{path} does not fit this run, or is damaged ({_line(error)}): delete it to train from the beginning"
    )


def pack(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` under names that begin with `prefix/`, so that several sets fit one file."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unpack(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix/`, under the rest of their names."""
    start = f"{prefix}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors ("<parameter>/<name>") and its groups as JSON values."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}/{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, entries in state["state"].items()
        for name, value in entries.items()
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Puts back what `optimizer_state` returned; a ValueError says what does not fit the optimiser's parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        place, _, name = path.partition("/")
        if not place.isdecimal() or int(place) >= len(parameters):
            raise ValueError(f"the optimiser's state names {path}, but there are {len(parameters)} parameters")
        expected = parameters[int(place)].shape if name in SHAPED_LIKE_PARAMETER else torch.Size()
        if tensor.shape != expected:
            raise ValueError(f"the optimiser's {path} has shape {list(tensor.shape)}, not {list(expected)}")
        state.setdefault(int(place), {})[name] = tensor
    _check_groups(groups, optimizer.state_dict()["param_groups"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _check_groups(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """A ValueError where anything but what a schedule moves (rate and betas) is not as this run has it."""
    check_alike(found, expected, "the optimiser's groups")
    for group, own in zip(found, expected, strict=True):
        changed = [name for name in own if name not in SCHEDULED and group[name] != own[name]]
        if changed or group["lr"] < 0 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"the optimiser's groups differ from this run's in {changed or SCHEDULED}")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
