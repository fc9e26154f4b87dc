"""Mistakes planted on the pretended device, each of which must be found: the check of the check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.pretend_device.device import Kind, PretendedDevice


def _mixed_devices(device: torch.device) -> None:
    torch.add(torch.ones(3, device=device), torch.ones(3))


def _ids_that_cannot_be_indexed(device: torch.device) -> None:
    torch.zeros(4, dtype=torch.int64).to(torch.uint16).to(device)[torch.zeros(2, dtype=torch.int64, device=device)]


def _reading_a_number(device: torch.device) -> None:
    torch.ones(1, device=device).item()


def _mask(device: torch.device) -> None:
    values = torch.ones(3, device=device)
    values[values > 0]


def _list_as_index(device: torch.device) -> None:
    torch.ones(3, device=device)[[0, 1]]


def _blocking_copy(device: torch.device) -> None:
    torch.ones(3).to(device)


def _new_number(device: torch.device) -> None:
    torch.tensor(1.0, device=device)


PLANTED: dict[Callable[[torch.device], None], Kind] = {
    _mixed_devices: "mixed devices",
    _ids_that_cannot_be_indexed: "missing kernel",
    _reading_a_number: "host wait",
    _mask: "host wait",
    _list_as_index: "host wait",
    _blocking_copy: "host wait",
    _new_number: "host wait",
}


def reading_its_loss(step: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., dict[str, torch.Tensor]]:
    """A training step that looks at its loss at once."""

    def reading(*args: Any) -> dict[str, torch.Tensor]:
        losses = step(*args)
        losses["loss"].item()
        return losses

    return reading


def overlooked() -> list[str]:
    """The planted mistakes that are not found, a line each."""
    lines = []
    for mistake, kind in PLANTED.items():
        with PretendedDevice() as gpu:
            mistake(gpu.device)
        if not gpu.of(kind):
            lines.append(f"planted mistake {mistake.__name__}: {kind} was not noticed")
    return lines
