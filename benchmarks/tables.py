"""Result pages: tables with machine and command. `python -m benchmarks.tables` copies figures into docs/speed.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from utils.files import replace_file

ROOT = Path(__file__).parent.parent
SPEED_PAGE = ROOT / "docs" / "speed.md"
STEP_PAGES = ("step_BALM_96", "step_BALM_720", "step_CALF_256", "step_CALF_32")
# Models whose savings differ from row to row of their page.
FURTHER_PAGES = {
    "BALM, SmolLM2, H=96": "step_BALM_96_SmolLM2",
    "BALM, SmolLM2, H=720": "step_BALM_720_SmolLM2",
    "Time-LLM": "step_TimeLLM_96",
    "TimeCMA": "step_TimeCMA_96",
    "UniTime": "step_UniTime_96",
    "TimesNet": "step_TimesNet_96",
    "TimesNet, 40 steps trained": "step_TimesNet_96_trained",
}
EXACT, BF16 = "ours, float32, exact", "ours, LLM in bfloat16"
FROZEN = "ours, after --freeze_prompt_after (text states kept)"
# Row of docs/speed.md: number of the table in a page of benchmarks.step, its row and its column.
STEP_FIGURES = {
    "training step, float32, exact": (0, EXACT, "against plain"),
    "training step, LLM in bfloat16": (0, BF16, "against plain"),
    "inference, float32, exact": (1, EXACT, "against plain"),
    "inference, LLM in bfloat16": (1, BF16, "against plain"),
    "training step after the prompt is frozen": (0, FROZEN, "against plain"),
    "share of the matrix-product rate, float32": (0, EXACT, "of the matmul rate"),
    "share of the matrix-product rate, bfloat16": (0, BF16, "of the matmul rate"),
    "peak memory of the whole process, float32": (2, EXACT, "peak against plain"),
    "what the steps hold of it": (2, EXACT, "steps against plain"),
}
Lines = list[list[str]]


def publish(title: str, machine: str, notes: Sequence[str], tables: Sequence[str], output: str) -> None:
    """Print a page of Markdown tables and write it to `output`, if given."""
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *_portable(sys.argv[1:])])
    parts = [f"# {title}", f"Measured on {machine}.", f"Command: `{command}`", *notes, *tables]
    page = "\n\n".join(parts) + "\n"
    print(page)
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(output), page.encode())


def tables_of(text: str) -> list[Lines]:
    """Every Markdown table of a page as rows of cells, the header first."""
    tables: list[Lines] = []
    for before, line in pairwise(["", *text.splitlines()]):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not set("".join(cells)) <= set("-: ") or not "".join(cells):
                tables[-1].append(cells)
    return tables


def speed_tables() -> list[Lines]:
    """The rows, without headers, of the tables of docs/speed.md, in order, from the pages in benchmarks/results."""
    (epochs,), scaling, (prompts,) = _results("epoch_BALM_96"), _results("scaling_BALM"), _results("prompts_ETTh1")
    growth = [[table[0][0], table[1][0], table[-1][0], f"{table[-1][2]}x", f"{table[-1][3]}x"] for table in scaling]
    wide = ["rows x channels", "batch", "training peak", "evaluation peak", "four times as long"]
    short_training = ["training", "all against plain", "last epoch against plain", "validation MSE"]
    return [
        _step_rows(),
        _further_rows(),
        _columns(epochs, short_training),
        growth,
        [[model, *row] for model in ("BALM", "CALF") for row in _columns(_results(f"wide_{model}")[0], wide)],
        _columns(prompts, ["decimals", "different prompts", "share of rows", "tokens, mean"]),
    ]


def with_rows(page: str, tables: list[Lines]) -> str:
    """`page` with the rows of its tables, in order, replaced by those of `tables`."""
    lines, number, row_of_table = [], -1, 0
    for before, line in pairwise(["", *page.splitlines()]):
        row_of_table = row_of_table + 1 if before.startswith("|") and line.startswith("|") else 0
        number += line.startswith("|") and row_of_table == 0
        if not line.startswith("|") or row_of_table < 2:
            lines.append(line)
        if line.startswith("|") and row_of_table == 1:
            lines += [f"| {' | '.join(row)} |" for row in tables[number]]
    return "\n".join(lines) + "\n"


def _step_rows() -> Lines:
    pages = [_results(name) for name in STEP_PAGES]
    return [
        [label, *(_cell(page[table], row, column) for page in pages)]
        for label, (table, row, column) in STEP_FIGURES.items()
    ]


def _further_rows() -> Lines:
    """Each way of the further models with its ratios of training and inference."""
    rows = []
    for model, name in FURTHER_PAGES.items():
        training, inference = _results(name)[:2]
        for way in (line[0] for line in training[1:]):
            ratios = [_cell(table, way, "against plain") for table in (training, inference)]
            rows.append([model, way, *ratios])
    return rows


def _cell(table: Lines, row: str, column: str) -> str:
    """A cell by its row and column; empty if the table has no such row."""
    return next((line[table[0].index(column)] for line in table if line[0] == row), "")


def _columns(table: Lines, names: Sequence[str]) -> Lines:
    return [[line[table[0].index(name)] for name in names] for line in table[1:]]


def _results(name: str) -> list[Lines]:
    return tables_of((ROOT / "benchmarks" / "results" / f"{name}_cpu.md").read_text())


def _portable(words: Sequence[str]) -> list[str]:
    """Command line without what is specific to one machine: folder names and --output."""
    kept: list[str] = []
    for flag, word in pairwise(["", *words]):
        if flag in ("--root_path", "--llm_tokenizer"):
            kept.append("FOLDER")
        elif "--output" not in (flag, word):
            kept.append(word)
    return kept


if __name__ == "__main__":
    replace_file(SPEED_PAGE, with_rows(SPEED_PAGE.read_text(), speed_tables()).encode())
