"""Number of distinct prompts of a data set and their length, by the decimals of their numbers (`--prompt_digits`).

`python -m benchmarks.prompts --data ETTh1 --root_path FOLDER --llm_tokenizer FOLDER`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.hf_argparser import HfArg

from benchmarks.cases import CaseConfig, data_config
from benchmarks.measuring.machine import describe
from benchmarks.tables import publish
from data_provider.data_factory import load_series
from data_provider.windows import Windows
from layers.llm.tokenizer import byte_level_tokenizer, find_tokenizer
from layers.prompt import WORDS, prompt_texts, tokenise
from layers.statistics import RowStatistics
from utils.flags.parsing import parse_flags
from utils.report.table import markdown

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class PromptsConfig(CaseConfig):
    """Decimals to compare."""

    digits: list[int] = HfArg(default_factory=lambda: [1, 2, 3, 4], help="Decimals to try")
    output: str = HfArg(default="", help="Markdown file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Count the prompts and print a table."""
    (config,) = parse_flags([PromptsConfig], arguments, belongs_to={}, prog="python -m benchmarks.prompts")
    data = data_config(config)
    windows = load_series(data).windows("train", config=data, channel_independent=True)
    rows = [_row(config, windows, digits) for digits in [*config.digits, None]]
    publish(
        f"Prompts of all {len(windows):,} training rows of {config.data}, look-back {config.seq_len}, horizon "
        f"{config.pred_len}",
        describe(torch.device("cpu")),
        ["GPT-2's tokenizer." if config.llm_tokenizer else "The built-in tokenizer."],
        [markdown(["decimals", "different prompts", "share of rows", "tokens, mean", "least", "most", "ms/row"], rows)],
        config.output,
    )
    return 0


def _row(config: PromptsConfig, windows: Windows, digits: int | None) -> list[str]:
    tokenizer = (
        find_tokenizer(config.llm_tokenizer, flag="--llm_tokenizer")
        if config.llm_tokenizer
        else byte_level_tokenizer(WORDS)
    )
    different: set[str] = set()
    lengths: list[torch.Tensor] = []
    began = time.perf_counter()
    for rows in torch.arange(len(windows)).split(ROWS_AT_ONCE):
        texts = prompt_texts(RowStatistics.of(windows.look_back_on_cpu(rows)[:, :, 0]), digits)
        different.update(texts)
        lengths.append(tokenise(tokenizer, texts)[1])
    seconds, tokens = time.perf_counter() - began, torch.cat(lengths).float()
    return [
        "full precision" if digits is None else str(digits),
        f"{len(different):,}",
        f"{100 * len(different) / len(windows):.1f} %",
        f"{tokens.mean().item():.2f}",
        f"{tokens.min().item():.0f}",
        f"{tokens.max().item():.0f}",
        f"{1000 * seconds / len(windows):.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
