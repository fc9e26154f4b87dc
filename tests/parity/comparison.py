"""How far our numbers may be from those of a golden file, and how far they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Golden = Mapping[str, np.ndarray]
# Of intermediates, results and gradients: largest difference over largest value.
RELATIVE_TOLERANCE = 1e-4
# Of intermediates and results of the models whose files name this tighter one.
TIGHT_TOLERANCE = 2e-5
# Of parameters after three Adam steps: every element within this share of the learning rate ...
SHARE_OF_LEARNING_RATE = 1 / 20
# ... and all but one in a thousand within this. Adam turns a gradient that is pure rounding noise into a whole step.
MOST_ELEMENTS_TOLERANCE = 1e-5
MOST_ELEMENTS = 0.999


def sizes(golden: Golden) -> dict[str, Any]:
    """The file's configuration by name."""
    return {name: value.item() for name, value in under(golden, "cfg/").items()}


def under(golden: Golden, prefix: str) -> dict[str, Any]:
    """The file's arrays below `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): golden[name] for name in golden if name.startswith(prefix)}


@dataclass(frozen=True)
class Quantity:
    """A number of ours beside the published one; `learning_rate` is given for parameters after optimiser steps.

    `absolute_tolerance` is given for what is zero in theory.
    """

    name: str
    ours: Tensor
    published: Tensor
    learning_rate: float | None = None
    relative_tolerance: float = RELATIVE_TOLERANCE
    absolute_tolerance: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One measured difference and what it may be."""

    name: str
    measure: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is a number within the tolerance."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "EXCEEDED"
        return f"{self.name:<72} {self.measure:<18} {self.difference:9.2e} {self.tolerance:9.1e}  {verdict}"


def compare(quantity: Quantity) -> Iterator[Comparison]:
    """The differences that matter of one quantity; a shape that is not the published one is a difference of inf."""
    ours, published = quantity.ours.detach().double().cpu(), quantity.published.double().cpu()
    if ours.shape != published.shape:
        yield Comparison(quantity.name, f"shape {list(ours.shape)}", float("inf"), 0.0)
        return
    difference = (ours - published).abs().flatten()
    if quantity.absolute_tolerance is not None:
        yield Comparison(quantity.name, "absolute", float(difference.max()), quantity.absolute_tolerance)
        return
    if quantity.learning_rate is None:
        relative = difference.max() / published.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        yield Comparison(quantity.name, "relative", float(relative), quantity.relative_tolerance)
        return
    largest_step = quantity.learning_rate * SHARE_OF_LEARNING_RATE
    most = np.quantile(difference.numpy(), MOST_ELEMENTS, method="lower")
    yield Comparison(quantity.name, "largest", float(difference.max()), largest_step)
    yield Comparison(quantity.name, "99.9 % quantile", float(most), MOST_ELEMENTS_TOLERANCE)
