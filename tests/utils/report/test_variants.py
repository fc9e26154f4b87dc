"""What tells runs of one model apart in the tables: names of one's own, changes of a recipe, edited code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from utils.report.pages.overview import overview_cards
from utils.report.result_groups import result_groups
from utils.report.result_rows import measures_of, naive_rows, result_rows
from utils.report.table import to_text
from utils.results import collect, main


def change(folder: Path, name: str, **entries: Any) -> None:
    """Add entries to config.json and move the folder, so that another of the same flags fits beside it."""
    record = json.loads((folder / "config.json").read_text())
    record.pop("sha256", None)
    train = record["train_config"] | entries.pop("train", {})
    (folder / "config.json").write_text(json.dumps({**record, "train_config": train, **entries}))
    folder.rename(folder.parent / name)


def names(root: Path) -> list[str]:
    return sorted(collect(root / "results").rows["name"])


def test_a_name_of_ones_own_makes_a_variant(write_run, tmp_path):
    change(write_run(model="DLinear"), "own", train={"des": "lastvalue", "model_id": "mine"})
    write_run(model="DLinear")
    assert names(tmp_path) == ["DLinear", "DLinear (mine, lastvalue)"]


def test_one_more_setting_leaves_the_published_recipe_its_name_and_its_table(write_run, tmp_path):
    recipe = {"alignment_rows": 24, "text_branch": "llm"}
    for pred_len in (4, 8):
        for number, changes in enumerate(({}, {"text_branch": "none"})):
            folder = write_run(pred_len=pred_len, model_config=recipe | changes)
            change(folder, f"{pred_len} {number}", recipe_changes=changes, train={"recipe": "published"})
    change(write_run(pred_len=4, model_config=recipe), "by hand", train={"learning_rate": 0.5})
    assert names(tmp_path) == [
        *["BALM"] * 2, "BALM (learning_rate=0.5)", *["BALM (text_branch=none)"] * 2,
    ]  # fmt: skip
    (table,) = [table for table in collect(tmp_path / "results").tables if table.title.startswith("Ablations")]
    assert [heads[1] for heads, _ in table.rows if heads[2] == "BALM (text_branch=none)"] == ["4", "8", "avg"]


def test_edited_code_is_said_and_two_edits_are_told_apart(write_run, tmp_path):
    for number, digest in enumerate(("aaaa", "bbbb")):
        source = {"hash": digest, "edited": ["models/dlinear.py"], "files": {}}
        change(write_run(model="DLinear"), str(number), source=source)
    assert names(tmp_path) == ["DLinear (edited aaaa)", "DLinear (edited bbbb)"]
    (tmp_path / "results" / "1" / "metrics.json").unlink()
    assert names(tmp_path) == ["DLinear (edited)"]


@pytest.mark.parametrize(("wanted", "said"), [("GPT4TS", "no run of that name"), ("dl", "could be any of DLinear, DL")])
def test_a_name_to_compare_that_is_not_one_model_is_refused(write_run, tmp_path, capsys, wanted, said):
    change(write_run(model="DLinear"), "own", train={"des": "other"})
    for model in ("DLinear", "BALM"):
        write_run(model=model)
    assert main([str(tmp_path / "results"), "--compare", "BALM", wanted]) == 1
    assert said in capsys.readouterr().err


def test_two_models_with_nothing_in_common_are_refused_with_what_there_is(write_run, tmp_path, capsys):
    write_run(pred_len=4)
    write_run(model="DLinear", pred_len=8)
    assert main([str(tmp_path / "results"), "--compare", "BALM", "DLinear"]) == 1
    assert "BALM on ETTh1 512 to 4, seeds 2021; DLinear on ETTh1 512 to 8" in capsys.readouterr().err


def test_models_of_different_look_backs_share_one_table_that_says_so(write_run, tmp_path):
    write_run(seq_len=512)
    write_run(model="CALF", seq_len=96)
    table = next(table for table in collect(tmp_path / "results").tables if "different look-backs" in table.title)
    assert [group for group, measure in table.columns if measure == "MSE"] == [
        "BALM, look-back 512", "CALF, look-back 96", "LastValue", "SeasonalNaive",
    ]  # fmt: skip


def test_a_table_too_wide_for_the_terminal_stands_upright(write_run, tmp_path):
    for model in ("BALM", "DLinear"):
        write_run(model=model)
    table = collect(tmp_path / "results").tables[0]
    assert max(map(len, to_text(table, width=200).splitlines()[:4])) > 70
    lines = to_text(table, width=60).splitlines()
    assert lines[1].split() == ["data", "horizon", "MSE", "MAE"]
    assert lines[3].split()[:3] == ["ETTh1", "4", "BALM"] and lines[4].split()[2] == "DLinear"


def test_the_page_shows_models_by_horizon_with_seeds_and_error_against_cost(write_run, tmp_path):
    for seed in (0, 1):
        for model in ("BALM", "DLinear"):
            write_run(model=model, seed=seed)
    runs = collect(tmp_path / "results").runs
    groups = result_groups(result_rows(runs)[0], naive_rows(runs), measures_of(runs))
    by_horizon, against_cost = overview_cards(groups)
    traces = by_horizon["figure"]["data"]
    assert [trace["name"] for trace in traces if trace.get("showlegend", True)] == [
        "BALM", "DLinear", "LastValue", "SeasonalNaive",
    ]  # fmt: skip
    assert sum(trace["mode"] == "markers" for trace in traces) == 2
    assert {trace["name"] for trace in against_cost["figure"]["data"]} == {"BALM", "DLinear"}
    assert len(against_cost["figure"]["layout"]["annotations"]) == 2
