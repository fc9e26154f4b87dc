"""Features of rows, to the last digit the same whatever they are computed with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from data_provider.batches.prompt_width import GPU_MULTIPLE, cut_prompts
from models.base import Forecaster

# Rows computed together, and the multiple of tokens that their prompts are padded to. Multiples of what a processor's
# vectors hold leave no remainder that it would sum in another way.
GROUP_ON_GPU, GROUP_ON_CPU = (32, GPU_MULTIPLE), (8, 16)
# Features on disk that were computed in other shapes have other last digits. 2: no group is cut to its longest prompt.
SHAPES = 2


@torch.no_grad()
def features_alone(model: Forecaster, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's `cached_features` of each row, computed with shapes that depend on that row alone.

    Products of other shapes round differently, and which rows are asked for together depends on what is cached, stored
    or resumed: rows are therefore computed in groups of a fixed size and one padded width, filled up with copies of a
    row. Rows with a prompt per channel (whole windows) are few and large, and computed one at a time on a CPU.
    """
    device = next(iter(inputs.values())).device
    size, multiple = GROUP_ON_CPU if device.type == "cpu" else GROUP_ON_GPU
    if device.type == "cpu" and not ("prompt_ids" in inputs and inputs["prompt_ids"].ndim == 2):
        size = multiple = 1
    num_rows = len(next(iter(inputs.values())))
    rows = [cut_prompts({n: v[i : i + 1] for n, v in inputs.items()}, multiple=multiple) for i in range(num_rows)]
    by_shape: dict[tuple[torch.Size, ...], list[int]] = {}
    for place, row in enumerate(rows):
        by_shape.setdefault(tuple(value.shape for value in row.values()), []).append(place)
    found: dict[int, dict[str, Tensor]] = {}
    for places in by_shape.values():
        for first in range(0, len(places), size):
            group = places[first : first + size]
            filled = [*group, *[group[0]] * (size - len(group))]
            features = model.cached_features(**{n: torch.cat([rows[p][n] for p in filled]) for n in inputs})
            for number, place in enumerate(group):
                found[place] = {name: value[number : number + 1] for name, value in features.items()}
    return {name: joined([found[place][name] for place in range(num_rows)]) for name in found[0]}


def joined(parts: list[Tensor]) -> Tensor:
    """The rows of all parts; a shorter second axis is padded with zeros, as the row store does."""
    if parts[0].ndim < 2:
        return torch.cat(parts)
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, 0) * (part.ndim - 2) + (0, width - part.shape[1])) for part in parts])
