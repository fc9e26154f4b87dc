"""The README's figures are those of the committed tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
SPEED = ROOT / "benchmarks" / "results"
COLUMNS = {1: "step_BALM_96_cpu", 2: "step_BALM_720_cpu", 3: "step_CALF_256_cpu", 4: "step_CALF_32_cpu"}
EXACT, BF16 = "ours, float32, exact", "ours, LLM in bfloat16"
FROZEN = "ours, after --freeze_prompt_after (text states kept)"
# README's line -> which of a page's tables, which of its lines, and which column.
FIGURES = {
    "training step, float32, exact": (0, EXACT, "against plain"),
    "training step, LLM in bfloat16": (0, BF16, "against plain"),
    "inference, float32, exact": (1, EXACT, "against plain"),
    "inference, LLM in bfloat16": (1, BF16, "against plain"),
    "training step after the prompt is frozen": (0, FROZEN, "against plain"),
    "peak memory of the whole process, float32": (2, EXACT, "peak against plain"),
    "what the steps hold of it": (2, EXACT, "steps against plain"),
}


def tables_of(text: str) -> list[list[list[str]]]:
    """Every Markdown table as lines of cells, the header first and without its rule."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                tables.append([])
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not set("".join(cells)) <= set("-: "):
                tables[-1].append(cells)
        inside = line.startswith("|")
    return tables


def readme_table(first_cells: list[str]) -> list[list[str]]:
    """The README's table whose header begins with these cells."""
    tables = tables_of((ROOT / "README.md").read_text())
    (found,) = [table for table in tables if table[0][: len(first_cells)] == first_cells]
    return found


def same(claimed: str, measured: str) -> bool:
    """Whether a figure is the measured one, or that rounded to whole numbers."""
    value = float(measured.removesuffix("x"))
    return claimed in (measured, f"{value:.0f}x")


@pytest.mark.parametrize("column", COLUMNS)
def test_speed_figures_are_those_of_the_committed_tables(column):
    pages = tables_of((SPEED / f"{COLUMNS[column]}.md").read_text())
    lines = {line[0]: line for line in readme_table(["", "BALM, H=96"])[1:]}
    for name, (table, way, wanted) in FIGURES.items():
        rows = {line[0]: dict(zip(pages[table][0], line, strict=True)) for line in pages[table]}
        if way == FROZEN and "CALF" in COLUMNS[column]:
            assert lines[name][column] == ""
        else:
            assert same(lines[name][column], rows[way][wanted]), name
    shares = [next(line for line in pages[0] if line[0] == way)[-1].removesuffix(" %") for way in (EXACT, BF16)]
    assert lines["share of the matrix-product rate, float32 / bfloat16"][column] == f"{shares[0]} / {shares[1]} %"


def test_baseline_figures_are_those_of_the_committed_runs():
    """Means and sample deviations over seeds of the library's own CSV, beside the published figures it quotes."""
    runs = pd.read_csv(ROOT / "docs" / "baselines" / "results.csv")
    published = pd.read_csv(ROOT / "utils" / "report" / "published" / "accuracy.csv")
    published = published[(published["seq_len"] == "own") & (published["model"] == "DLinear")]
    header, *lines = readme_table(["data", "H"])
    assert len(lines) == runs.groupby(["data", "pred_len"]).ngroups
    for line in lines:
        data, horizon = line[0], int(line[1])
        cell = runs[(runs["data"] == data) & (runs["pred_len"] == horizon)]
        for model in ("DLinear", "NLinear", "SeasonalNaive", "LastValue"):
            errors = np.array(cell["mse"][cell["name"] == model], dtype=float)
            claimed = line[header.index(model)]
            deviation = float(errors.std(ddof=1))
            spread = f" ± {deviation:.3f}" if deviation >= 5e-4 else ""
            assert claimed == f"{errors.mean():.3f}{spread}", (data, horizon, model)
        found = published[(published["dataset"] == data) & (published["pred_len"] == str(horizon))]["mse"]
        assert line[-1] == (f"{found.item():.3f}" if len(found) else "-")
