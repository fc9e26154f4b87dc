"""What is kept by row on the pretended device: widths that depend on the past, and waits in reading it."""

from __future__ import annotations

from pathlib import Path

import torch

from data_provider.batches.memory_budget import MemoryBudget
from data_provider.batches.prompt_width import GPU_MULTIPLE
from data_provider.batches.row_store import RowStore
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider, load_series
from tests.data_provider.batches.test_prompt_width import prompts_of
from tests.pretend_device.device import PretendedDevice

ROWS = torch.tensor([3, 50, 77, 120])


def wrong_rows(table: Path) -> list[str]:
    """A line for each thing that is wrong."""
    return [*_widths_that_depend_on_the_past(table), *_waits_in_reading()]


def _widths_that_depend_on_the_past(table: Path) -> list[str]:
    """A line if a fresh loader and one that has seen many rows pad the same batch otherwise, or to no bucket."""
    data = DataConfig(data="custom", data_path=str(table), seq_len=96, pred_len=24)
    widths = []
    with PretendedDevice() as gpu:
        for before in (0, 150):
            _, loader = data_provider(
                load_series(data), "train", config=data, channel_independent=True, batch_size=4, seed=1,
                device=gpu.device, prompt_inputs=prompts_of,
            )  # fmt: skip
            if before:
                loader.batch(torch.arange(before))
            widths.append(loader.batch(ROWS).inputs["prompt_ids"].shape[1])
    if widths[0] == widths[1] and widths[0] % GPU_MULTIPLE == 0:
        return []
    return [f"a batch's prompts are {widths[0]} tokens wide, and {widths[1]} after other rows were asked for"]


def _waits_in_reading() -> list[str]:
    """A line for each wait in reading features that are kept on the device."""
    with PretendedDevice() as gpu:
        store = RowStore(200, budget=MemoryBudget(2**20), device=gpu.device)
        values = torch.arange(4.0)[:, None].to(gpu.device)
        store.get(ROWS, lambda _: {"state": values})
        with gpu.part("reading"):
            kept = store.get(ROWS.flip(0), lambda _: {})["state"]
        found = [f"kept features: {event.operation} ({event.detail})" for event in gpu.of("host wait", "reading")]
        return found if torch.equal(kept.cpu(), values.cpu().flip(0)) else [*found, "kept features are others"]
