"""Checkpoints: single safetensors files of tensors and a JSON header, with a SHA-256 over both; no pickle.

Every file of a run says in its header which run it belongs to (`run_id`), and is refused in the folder of another.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utils.files import DamagedFile, replace_file

METADATA_KEY = "json"
MAX_SHOWN = 80
# Adam's state tensors that have the shape of their parameter; any other is a single number.
SHAPED_LIKE_PARAMETER = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq"})


def save_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and JSON header to `path`, atomically. Raises CannotWrite; the old file is kept then."""
    on_cpu = _without_sharing({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    # One metadata entry: safetensors writes several in random order, and equal runs should give equal files.
    content = json.dumps({"header": header, "sha256": _sha256(on_cpu, header)})
    replace_file(path, save(on_cpu, metadata={METADATA_KEY: content}))


def load_checkpoint(
    path: Path, *, run_id: str | None = None, needs_hash: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and verify what `save_checkpoint` wrote; files from before there were hashes only without `needs_hash`.

    Raises FileNotFoundError, or DamagedFile if the content does not match its hash or belongs to another run than
    `run_id`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the run was stopped before its first checkpoint, or moved")
    tensors, header = _verified(path, needs_hash=needs_hash)
    owner = header.get("run_id")
    if run_id is not None and owner is not None and owner != run_id:
        raise DamagedFile(f"{path} belongs to another run ({str(owner)[:MAX_SHOWN]}), not to {run_id}: it is not used")
    return tensors, header


def _verified(path: Path, *, needs_hash: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportArgumentType]
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = json.loads(metadata[METADATA_KEY])
        if not isinstance(content, dict):
            raise TypeError("its header is no JSON object")
        if "header" not in content and "sha256" not in content and not needs_hash:
            return tensors, content
        header, sha256 = content["header"], content["sha256"]
        if _sha256(tensors, header) != sha256:
            raise ValueError("its content does not match its SHA-256")
        if not isinstance(header, dict):
            raise TypeError("its header is no JSON object")
    # RuntimeError: torch could not open a file that has just been removed.
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, RuntimeError, OSError) as error:
        raise DamagedFile(
            f"{path} is not a checkpoint of this library, or is damaged ({_first_line(error)}): it is not used; "
            "restore it from a copy"
        ) from error
    return tensors, header


def mismatched_checkpoint(path: Path, error: BaseException) -> DamagedFile:
    """The error for a readable checkpoint that does not fit the run it lies in."""
    return DamagedFile(f"{path} does not fit this run, or is damaged ({_first_line(error)}): it is not used")


def pack(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with `prefix/` in front of each name, so that several sets can share a file."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unpack(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix/`, without the prefix."""
    start = f"{prefix}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as tensors ("<parameter index>/<name>") and its groups as JSON values."""
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
    """Restore what `optimizer_state` returned. Raises ValueError if it belongs to other parameters.

    Of the saved groups only what a schedule changes (learning rate, betas) is restored: how Adam computes (`fused`,
    `foreach`, `capturable`) may differ between the machines that a run is resumed on.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        index, _, name = path.partition("/")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"the optimiser's state names {path}, but there are {len(parameters)} parameters")
        expected = parameters[int(index)].shape if name in SHAPED_LIKE_PARAMETER else torch.Size()
        if tensor.shape != expected:
            raise ValueError(f"the optimiser's {path} has shape {list(tensor.shape)}, not {list(expected)}")
        state.setdefault(int(index), {})[name] = tensor
    own = optimizer.state_dict()["param_groups"]
    saved_sizes, own_sizes = ([len(group["params"]) for group in every] for every in (groups, own))
    if saved_sizes != own_sizes:
        raise ValueError(f"the optimiser's groups have {saved_sizes} parameters, not {own_sizes}")
    restored = [
        {**group, "lr": saved["lr"], "betas": tuple(saved["betas"])} for group, saved in zip(own, groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": restored})


def _without_sharing(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with copies of those that share memory with an earlier one (tied weights): a file has no ties."""
    known: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in known and tensor.numel() else tensor
        known.add(place)
    return apart


def _sha256(tensors: dict[str, Tensor], header: Any) -> str:
    """Digest of the header and of every tensor's name, type, shape and bytes. Takes about 0.13 s per 100 MB."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
