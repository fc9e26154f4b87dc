"""The page follows from the committed runs: cells, second learning rate, later parts, pictures."""

from __future__ import annotations

import base64
import re
from html import unescape
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from tests.utils.verdict.made_runs import made
from utils.verdict import __main__ as command
from utils.verdict.collection import Collected
from utils.verdict.comparisons import comparisons_of, second_part, second_rates
from utils.verdict.pages.document import to_markdown
from utils.verdict.pages.page import CAPTIONS, document, files
from utils.verdict.pages.readme import ANSWER
from utils.verdict.plan import (
    CELLS,
    NAIVE,
    PRETRAINED,
    SEEDS,
    SIMPLE,
    Part,
    cell_text,
    core,
    later_parts,
    num_simple_runs,
    second_rate,
    setting_of,
)


def page(collected: Collected, place: Path) -> str:
    return to_markdown(document(collected, place))


def lines(text: str, *words: str) -> list[str]:
    """The table lines that hold all these words."""
    return [line for line in text.splitlines() if line.startswith("|") and all(word in line for word in words)]


def test_the_plans_numbers_of_runs_are_those_of_the_plan():
    assert [part.num_runs for part in (core(), *later_parts())] == [180, 36, 15, 15, 18, 18]
    assert num_simple_runs() == 88


def test_an_incomplete_arm_is_shown_by_its_number_of_seeds_without_a_verdict(tmp_path):
    lacking = [(CELLS[0], "words", seed) for seed in SEEDS[2:]] + [(CELLS[0], "mlp", seed) for seed in SEEDS]
    text = page(made({}, cells=1, lacking=lacking), tmp_path)
    (row,) = lines(text, "| words | 2 of 5 |")
    assert row == "| words | 2 of 5 |  |  |  |  | 2 of 5 seeds |  | 2 of 5 seeds | 3 | 50 |"
    assert lines(text, "| mlp | 0 of 5 |", "not run")
    assert lines(text, "| words | the transformer's states help", "ETTh1", "2 of 5 seeds |  |  |")


def test_a_cell_that_is_added_cannot_take_a_verdict_back():
    (first,) = [each for each in comparisons_of(made({PRETRAINED: 0.98}, cells=1), core()) if _is_first(each)]
    (both,) = [each for each in comparisons_of(made({PRETRAINED: 0.98}, cells=4), core()) if _is_first(each)]
    assert first.corrected_p >= both.corrected_p
    assert first.verdict == both.verdict == "better"


def _is_first(each) -> bool:
    return (each.cell, each.arm, each.reference) == (CELLS[0], PRETRAINED, "none")


@pytest.mark.parametrize(("num_first", "is_due"), [(5, True), (3, True), (2, False)])
def test_the_second_learning_rate_is_due_when_three_of_five_best_epochs_are_the_first(num_first, is_due, tmp_path):
    runs = made({}, cells=1)
    chosen = (runs.rows["arm"] == PRETRAINED) & runs.rows["seed"].isin(SEEDS[:num_first])
    runs.rows.loc[chosen, "best_epoch"] = 1
    first = second_rates(runs)[0]
    assert (first.is_due, first.is_known, second_part(runs) is not None) == (is_due, True, is_due)
    assert lines(page(runs, tmp_path), cell_text(CELLS[0]), f"{num_first} of 5 | {'yes' if is_due else 'no'} | 0 of 45")


def test_a_rule_that_missing_seeds_can_still_change_is_not_known(tmp_path):
    runs = made({}, cells=1, lacking=[(CELLS[0], PRETRAINED, seed) for seed in SEEDS[:3]])
    assert [rate.is_known for rate in second_rates(runs)] == [False] * 4
    assert lines(page(runs, tmp_path), cell_text(CELLS[0]), "| 3, 3 | 0 of 2 | not known yet |")


def test_the_second_learning_rate_has_its_own_table_and_leaves_the_answer_alone(tmp_path):
    slower = second_rate(CELLS[0])
    assert slower == "ETTh1_10pct_512_96_rate0.00004"
    effects = {f"{CELLS[0]}/{PRETRAINED}": 1.2, f"{slower}/{PRETRAINED}": 0.8}
    text = page(made(effects, [core(CELLS[:1]), core((slower,))]), tmp_path)
    assert "1. It is not shown anywhere that the text helps" in text
    section = text[text.index("## Second learning rate") :]
    assert f"{cell_text(slower, with_rate=True)}:" in section
    # One cell: its p-value is not corrected, that of the four primary ones is.
    (row,) = lines(section, "| none | text helps |")
    assert "| better | < 0.001 |" in row


@pytest.mark.parametrize("number", range(5))
def test_each_later_part_is_compared_on_the_page(number, tmp_path):
    part = later_parts()[number]
    better = part.arms[0]
    text = page(made({better: 0.9}, [part]), tmp_path)
    section = text[text.index(f"## {part.title}") :].partition("\n## ")[0]
    (reference,) = [pair.reference for pair in part.pairs if pair.arm == better][:1]
    cells = [cell for cell in part.cells if not cell.startswith("ILI")]
    assert len(lines(section, f"| {better} | {reference} | -", "| better |")) == len(cells)
    assert all(lines(section, cell_text(cell), arm, "of") for cell in part.cells for arm in part.arms)
    done = f"| {part.title} | {part.num_runs} | {part.num_runs} |"
    assert done in text
    others = [f"## {other.title}\n\nNot run." in text for other in later_parts() if other.title != part.title]
    assert all(others)


def test_the_simple_models_stand_beside_on_the_same_rows(tmp_path):
    runs = made({}, cells=1)
    rate = setting_of(CELLS[0]) + "_rate0.005"
    rows = [
        {**runs.rows.iloc[0].to_dict(), "cell": rate, "arm": arm, "seed": seed, "run_id": f"{arm}{seed}", "mse": mse}
        for arm, seeds, mse in (("DLinear", SEEDS, 0.4), ("NLinear", SEEDS[:2], 0.5), (NAIVE[0], SEEDS[:1], 1.2))
        for seed in seeds
    ]
    text = page(Collected(pd.concat([runs.rows, pd.DataFrame(rows)]), runs.errors), tmp_path)
    assert lines(text, "| DLinear | 0.4000 ± 0.0000 | not run |")
    assert lines(text, "| NLinear | 2 of 5 seeds |") and lines(text, f"| {NAIVE[0]} | 1.2000 | not run |")
    assert lines(text, f"| {SIMPLE[-1]} | not run |")
    assert "| 6. Simple models on the same rows | 88 | 8 |" in text


def test_the_page_says_what_the_store_of_text_states_saves(tmp_path):
    text = page(made({}, cells=1), tmp_path)
    assert text.count("| 50.0 | 10.0 | 5x | 5 |") == 3


def test_without_runs_the_page_says_so_and_has_no_picture(tmp_path):
    found = files(Collected(pd.DataFrame(columns=["cell", "arm", "seed", "run_id"]), {}), tmp_path)
    assert set(found) == {"README.md", "verdict.html"}
    assert "No cell that can be tested is complete yet" in found["README.md"].decode()


def test_pictures_are_the_same_bytes_whatever_matplotlib_is_told_and_hold_every_arm(tmp_path):
    runs = made({"words": 1.3}, cells=1)
    first = files(runs, tmp_path)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True, "lines.linewidth": 9}):
        assert files(runs, tmp_path) == first
    assert set(CAPTIONS) < set(first)
    for name in CAPTIONS:
        picture = first[name].decode()
        assert "<dc:date>" not in picture and "Matplotlib v" not in picture
        assert all(f">{arm}<" in picture for arm in core().arms)


def test_the_html_holds_its_pictures_and_nothing_is_loaded_or_run(tmp_path):
    found = files(made({}, cells=1), tmp_path)
    html = unescape(found["verdict.html"].decode())
    embedded = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert [base64.b64decode(data) for data in embedded] == [found[name] for name in CAPTIONS]
    assert "<script" not in html and "http://" not in html.replace("http://www.w3.org", "")
    assert "default-src 'none'" in html and "img-src data:" in html
    assert len(html.encode()) < 1e6


def test_the_committed_page_follows_from_the_committed_runs():
    assert command.main(["--check"]) == 0


def test_a_page_that_does_not_follow_is_named_and_written_anew(tmp_path, monkeypatch, capsys):
    place, readme = tmp_path / "docs", tmp_path / "README.md"
    place.mkdir()
    drawn = {"README.md": b"page", "forest.svg": b"picture"}
    readme.write_text(f"# A library\n\n{ANSWER} Yes.\n\n| model | MSE |\n|---|---|\n| old | 1 |\n\nMore.\n")
    for name, value in {"PLACE": place, "README": readme, "ROOT": tmp_path, "files": lambda _: drawn}.items():
        monkeypatch.setattr(command, name, value)
    assert command.main(["--check"]) == 1
    assert "docs/forest.svg" in capsys.readouterr().out
    assert command.main([]) == command.main(["--check"]) == 0
    assert readme.read_text().endswith("|\n\nMore.\n") and "| old |" not in readme.read_text()
    assert f"\n\n{ANSWER} BALM, " in readme.read_text() and "Yes." not in readme.read_text()
    (place / "cost.svg").write_text("of another time")
    assert command.main(["--check"]) == 1
    assert command.main([]) == command.main(["--check"]) == 0
    assert not (place / "cost.svg").exists()


def test_parts_that_lack_runs_are_named_at_the_top(tmp_path):
    top = page(made({}, cells=1), tmp_path).partition("\n## ")[0]
    assert "Still to be run, of the plan: 1. Core (45 of 180 runs); 2. Without the alignment loss (0 of 36 runs)" in top


def test_runs_of_no_earlier_part_are_counted_for_the_last_one(tmp_path):
    other = Part("7. Later", ("ETTh1_512_336_rate0.0004",), (PRETRAINED,), (), SEEDS[:2])
    collected = made({}, [core(CELLS[:1]), other])
    (row,) = lines(page(collected, tmp_path), "| 7. ")
    assert row.endswith("| - | 2 |")
