"""Odd run folders: links, records of two runs, names that look like formulas or like another data set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from utils.files import DamagedFile
from utils.report import __main__ as report
from utils.results import collect, without_formulas, write_results
from utils.schemas.checking import checked
from utils.schemas.config import SeriesRecord


def test_links_are_left_out_and_not_followed(write_run, tmp_path):
    folder = write_run()
    results = tmp_path / "results"
    (results / "above").symlink_to(results)
    (results / "again").symlink_to(folder)
    other = write_run(seed=1)
    metrics = (other / "metrics.json").rename(tmp_path / "metrics.json")
    (other / "metrics.json").symlink_to(metrics)
    found = collect(results)
    assert len(found.runs) == 1
    assert {Path(name).name for name in found.skipped} == {"above", "again", other.name}
    assert all("links are not followed" in reason for reason in found.skipped.values())


def test_records_of_two_runs_are_left_out(write_run, tmp_path):
    folder = write_run(run_id="one")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "run_id": "another"}))
    found = collect(tmp_path / "results")
    assert list(found.skipped.values()) == ["metrics.json and config.json are of two runs: one, another"]


def of_custom_table(folder: Path, fingerprint: str) -> None:
    """The run was trained on a table of one's own."""
    config = json.loads((folder / "config.json").read_text())
    config["data_config"]["data"] = "custom"
    config["series"]["fingerprint"] = fingerprint
    (folder / "config.json").write_text(json.dumps(config))


def test_two_tables_of_one_name_are_two_data_sets(write_run, tmp_path):
    for seed, fingerprint in enumerate(["a" * 64, "b" * 64]):
        of_custom_table(write_run(data="mine", seed=seed), fingerprint)
    assert set(collect(tmp_path / "results").rows["data"]) == {"mine (own file aaaaaa)", "mine (own file bbbbbb)"}


def test_one_table_of_a_name_keeps_it_and_one_called_like_a_data_set_does_not(write_run, tmp_path):
    of_custom_table(write_run(data="mine"), "a" * 64)
    of_custom_table(write_run(data="ETTh1"), "b" * 64)
    write_run(data="ETTh1", seed=1)
    assert set(collect(tmp_path / "results").rows["data"]) == {"mine", "ETTh1", "ETTh1 (own file bbbbbb)"}


def test_a_table_of_ones_own_whose_record_says_otherwise_is_no_data_set(write_run, tmp_path):
    other = {"mse": 1.0, "mae": 1.0, "measures": ["mse"]}
    of_custom_table(write_run(data="ETTh1", seed=1), "")
    of_custom_table(write_run(data="mine", seed=2, tests={"ETTh1": other}), "b" * 64)
    of_custom_table(write_run(data="my", seed=3, tests={"my": other | {"cell": {"data": "ETTh1"}}}), "c" * 64)
    found = set(collect(tmp_path / "results").rows["data"])
    assert found == {"ETTh1 (own file of unknown content)", "mine, ETTh1", "my"}


def to_a_target(folder: Path, **entry: str) -> None:
    """The run was tested on a target with these entries; the file of it is that of `custom` if the flags say so."""
    metrics, config = (json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "config"))
    (test,) = metrics["tests"].values()
    target = "ETTm1"
    metrics |= {"task_name": "zero_shot_forecast", "tests": {target: {**test, **entry}}}
    config["task_config"] = {"target_data": ["custom"] if entry else [target]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(json.dumps(config))


def test_a_target_of_ones_own_that_is_called_like_a_data_set_is_another(write_run, tmp_path):
    to_a_target(write_run(data="ETTh1", seed=1))
    to_a_target(write_run(data="ETTh1", seed=2), own_file="c" * 64)
    before = write_run(data="ETTh1", seed=3)
    to_a_target(before, own_file="c" * 64)
    metrics = json.loads((before / "metrics.json").read_text())
    del metrics["tests"]["ETTm1"]["own_file"]
    (before / "metrics.json").write_text(json.dumps(metrics))
    found = ["ETTh1->ETTm1", "ETTh1->ETTm1 (own file cccccc)", "ETTh1->ETTm1 (own file of unknown content)"]
    assert sorted(collect(tmp_path / "results").rows["data"]) == found


def test_no_cell_of_the_table_is_a_formula(write_run, tmp_path):
    write_run(data='=HYPERLINK("http://x")')
    results = collect(tmp_path / "results")
    write_results(results, tmp_path / "tables", tmp_path / "results")
    lines = (tmp_path / "tables" / "results.csv").read_text().splitlines()
    assert not any(cell.strip('"').startswith("=") for line in lines for cell in line.split(","))


def test_no_table_that_is_written_moves_the_cursor(write_run, tmp_path):
    write_run(data="\x1b[31mred", labels=("\x9b2J",))
    results = collect(tmp_path / "results")
    for path in write_results(results, tmp_path / "tables", tmp_path / "results")[:2]:
        text = path.read_text()
        assert "\x1b" not in text and "\x9b" not in text and "x1b" in text


def test_a_table_whose_name_is_no_unicode_has_a_row(write_run, tmp_path):
    """The path of a file called in Latin-1 holds halves of characters, and so do the records of its run."""
    folder = write_run(data="cafe", device_name="\ud800")
    for name in ("metrics", "config"):
        path = folder / f"{name}.json"
        path.write_text(path.read_text().replace('"cafe"', '"caf\\udce9"'))
    write_run(data="ETTh1", seed=2)
    results = collect(tmp_path / "results")
    assert set(results.rows["data"]) == {"caf\\udce9", "ETTh1"}
    write_results(results, tmp_path / "tables", tmp_path / "results")
    assert report.main([str(tmp_path / "results")]) == 0


def test_a_text_with_halves_of_characters_in_a_header_is_one_line():
    with pytest.raises(DamagedFile, match="halves of characters"):
        checked({"time_step": "\ud800"}, SeriesRecord, "a file")


def test_folders_of_a_thousand_levels_are_searched(write_run, tmp_path):
    write_run()
    levels = [tmp_path / "a"]
    for _ in range(1100):
        levels.append(levels[-1] / "a")
    for level in levels:
        level.mkdir()
    try:
        found = collect(tmp_path)
    finally:
        for level in reversed(levels):
            level.rmdir()
    assert len(found.runs) == 1
    assert list(found.skipped) == [str(levels[-1])]


def test_a_folder_whose_name_is_no_text_is_left_out(write_run, tmp_path):
    odd = write_run()
    write_run(seed=1)
    results = tmp_path / "results"
    odd.rename(os.fsdecode(os.fsencode(results) + b"/caf\xe9"))
    found = collect(results)
    assert len(found.runs) == 1
    assert {Path(name).name for name in found.skipped} == {"caf\\udce9"}
    write_results(found, tmp_path / "tables", results)


def test_a_column_whose_name_is_a_formula_is_defused():
    rows = without_formulas(pd.DataFrame({"model": ["=cmd()"], "=cmd()": [1.0]}))
    assert rows.to_csv(index=False) == "model,'=cmd()\n'=cmd(),1.0\n"
