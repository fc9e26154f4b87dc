"""The figures in README and docs are those of the committed results."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables import SPEED_PAGE, speed_tables, tables_of, with_rows
from models import MODELS as MODEL_REGISTRY
from utils.verdict.collection import read
from utils.verdict.pages.readme import ANSWER, README, filled_in

ROOT = Path(__file__).parent.parent
MODELS = ("DLinear", "NLinear", "SeasonalNaive", "LastValue")
HORIZONS = 4


def table_about(page: str, first_cell: str, *, length: int) -> list[dict[str, str]]:
    """The rows, by column, of the only table of `page` with this first cell in its header and this many columns."""
    tables = tables_of((ROOT / page).read_text())
    ((header, *rows),) = [table for table in tables if table[0][0] == first_cell and len(table[0]) == length]
    return [dict(zip(header, row, strict=True)) for row in rows]


def rows_of(file: str) -> list[dict[str, str]]:
    with (ROOT / file).open() as lines:
        return list(csv.DictReader(lines))


def published(**cell: str) -> str:
    """The published MSE of all training rows in three decimals; a dash where there is none."""
    wanted = {**cell, "percent": "100"}.items()
    found = [row["mse"] for row in rows_of("utils/report/published/accuracy.csv") if wanted <= row.items()]
    return f"{float(found[0]):.3f}" if found else "-"


def errors(data: str, model: str) -> dict[str, np.ndarray]:
    """The test MSE of the committed runs, one per seed, by horizon."""
    runs = [row for row in rows_of("docs/baselines/results.csv") if (row["data"], row["name"]) == (data, model)]
    horizons = dict.fromkeys(row["pred_len"] for row in runs)
    return {h: np.array([float(row["mse"]) for row in runs if row["pred_len"] == h]) for h in horizons}


def test_the_speed_page_shows_the_measured_tables():
    """`python -m benchmarks.tables` copies them there."""
    page = SPEED_PAGE.read_text()
    assert page == with_rows(page, speed_tables())


def test_the_speed_page_names_the_machine_of_every_table():
    page = SPEED_PAGE.read_text()
    for table in (ROOT / "benchmarks" / "results").glob("*_cpu.md"):
        machine, torch = re.findall(r"^Measured on (.+?), \d+ threads, (torch \d+\.\d+)", table.read_text(), re.M)[0]
        assert machine in page and torch in page, table.name


def test_the_page_about_gpus_names_the_machine_and_shows_the_measured_steps():
    page = (ROOT / "docs" / "gpu.md").read_text()
    for table in (ROOT / "benchmarks" / "results").glob("*_cuda.md"):
        machine, torch = re.findall(r"^Measured on (.+?), (torch \d+\.\d+)", table.read_text(), re.M)[0]
        assert machine in page and torch in page, table.name
    measured = (ROOT / "benchmarks" / "results" / "gpu_graphs_cuda.md").read_text()
    ways = {
        "(a)": "plain_without_dropout",
        "(b)": "plain_without_dropout_compiled_bf16",
        "`--precision bf16`": "packed_bf16",
        "`--precision bf16 --cuda_graph`": "packed_bf16, graph",
        "`--precision bf16 --cuda_graph --compile`": "packed_compiled_bf16, graph",
    }
    for row, way in ways.items():
        (shown,) = re.findall(rf"^\| {re.escape(row)} \| (\d.+) \|$", page, re.M)
        found = re.findall(rf"^\| {re.escape(way)} \| (.+) \|$", measured, re.M)
        steps = [cells.split(" | ") for cells in found]
        expected = [cell for ms, *ratios in steps for cell in (f"{ms} ms", *ratios)]
        cells = [cell.strip() for cell in shown.split("|")]
        assert all(cell in ("", want) for cell, want in zip(cells, expected, strict=True)), row


@pytest.mark.parametrize("model", MODELS)
def test_baselines_are_means_and_deviations_of_the_committed_runs(model):
    rows = table_about("docs/baselines.md", "data", length=7)
    assert len(rows) == len({(run["data"], run["pred_len"]) for run in rows_of("docs/baselines/results.csv")})
    for row in rows:
        found = errors(row["data"], model)[row["H"]]
        deviation = float(found.std(ddof=1))
        spread = f" ± {deviation:.3f}" if deviation >= 5e-4 else ""
        assert row[model] == f"{found.mean():.3f}{spread}", (row["data"], row["H"])
        reported = published(dataset=row["data"], model="DLinear", seq_len="own", pred_len=row["H"])
        assert row["DLinear, published"] == reported


def test_the_runs_of_timesnet_and_unitime_are_those_committed():
    shown = table_about("docs/baselines.md", "run", length=7)
    runs = rows_of("docs/baselines/timesnet_unitime.csv")
    assert len(shown) == len(runs)
    for row in shown:
        names = ("seq_len", "percent", "epochs", "mse", "mae")
        percent = row["training rows"].removesuffix(" %").replace("all", "100")
        wanted = (row["look-back"], percent, row["epochs"], row["MSE"], row["MAE"])
        found = [
            (*(run[name] for name in names[:3]), f"{float(run['mse']):.3f}", f"{float(run['mae']):.3f}") for run in runs
        ]
        assert wanted in found
    assert shown[1]["BALM-TSF paper, Table 1"] == published(
        dataset="ETTh1", model="TimesNet", seq_len="512", pred_len="96"
    )


def test_trial_runs_of_the_llm_forecasters_are_the_committed_ones():
    runs = rows_of("docs/baselines/trial_runs.csv")
    for row in table_about("docs/baselines.md", "trial run", length=5):
        (run,) = [run for run in runs if run["name"] == row["trial run"]]
        assert (row["look-back"], row["label"]) == (run["seq_len"], run["labels"])
        assert [row[measure.upper()] for measure in ("mse", "mae")] == [f"{float(run[m]):.3f}" for m in ("mse", "mae")]


def test_the_readmes_run_with_a_pretrained_llm_is_a_committed_one():
    (run,) = [run for run in rows_of("docs/baselines/trial_runs.csv") if run["name"] == "BALM"]
    said = f"It ends with an MSE of {float(run['mse']):.3f}, above the "
    assert said in README.read_text()
    assert (run["data"], run["percent"], run["epochs"], run["num_windows"]) == ("ETTh1", "10", "1", "2785")
    assert "SmolLM2-135M-Instruct" in run["labels"]


@pytest.mark.parametrize("model", MODELS)
def test_averages_over_horizons_are_those_of_the_committed_runs(model):
    rows = table_about("docs/baselines.md", "data", length=6)
    assert {row["data"] for row in rows} == {run["data"] for run in rows_of("docs/baselines/results.csv")}
    for row in rows:
        means = [found.mean() for found in errors(row["data"], model).values()]
        assert len(means) == HORIZONS
        assert row[model] == f"{np.mean(means):.3f}", row["data"]
        reported = published(dataset=row["data"], model="BALM", seq_len="512", pred_len="avg")
        assert row["BALM-TSF, published"] == reported


def test_the_readmes_answer_and_main_table_are_those_of_the_committed_runs():
    """`python -m utils.verdict` writes them."""
    text = README.read_text()
    assert text == filled_in(text, read())


def test_the_readmes_answer_says_what_the_page_of_the_verdict_says():
    page = (ROOT / "docs" / "verdict" / "README.md").read_text().splitlines()
    concluded = [line[3:].partition(":")[0] for line in page if line.startswith(("1. ", "2. ", "3. "))]
    (said,) = [line for line in README.read_text().splitlines() if line.startswith(ANSWER)]
    assert f": {'; '.join(concluded)}. Differences".lower() in said.lower()


def test_a_readme_without_a_place_for_the_answer_is_refused():
    with pytest.raises(ValueError, match=r"README.md has no line that begins with \*\*Does"):
        filled_in("| model |\n", read())


def test_the_readmes_main_table_has_every_model():
    shown = table_about("README.md", "model", length=11)
    assert {row["model"].split(",")[0].split(" ")[0] for row in shown} == set(MODEL_REGISTRY)


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_readmes_cost_of_a_run_is_that_of_a_committed_one():
    wanted = {"data": "ETTh1", "name": "DLinear", "pred_len": "96", "seed": "2021"}.items()
    (run,) = [row for row in rows_of("docs/baselines/results.csv") if wanted <= row.items()]
    shown = f"took {float(run['seconds_total']):.0f} s and {int(run['peak_host_bytes']) / 2**30:.1f} GiB of memory"
    assert shown in (ROOT / "README.md").read_text()
