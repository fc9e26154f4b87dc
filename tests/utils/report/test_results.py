"""Collecting run folders into tables."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from utils.results import collect, main


def table_of(results, text):
    return next(table for table in results.tables if table.title.startswith(text))


def cell_texts(table):
    names = [f"{group} {measure}" for group, measure in table.columns]
    return {tuple(heads): dict(zip(names, [cell.text for cell in cells], strict=True)) for heads, cells in table.rows}


def test_a_cell_is_mean_and_sample_deviation_over_seeds_and_the_best_is_bold_the_second_underlined(write_run, tmp_path):
    for seed, mse in ((0, 0.30), (42, 0.32), (2021, 0.34)):
        write_run(seed=seed, mse=mse)
        write_run(model="DLinear", seed=seed, mse=mse + 0.1)
    assert main([str(tmp_path / "results")]) == 0
    markdown = (tmp_path / "results" / "results.md").read_text()
    row = next(line for line in markdown.splitlines() if line.startswith("| ETTh1 | 4 |"))
    assert row.split(" | ")[2:5] == ["**0.320 ± 0.020**", "**0.288 ± 0.018**", "<u>0.420 ± 0.020</u>"]
    rows = pd.read_csv(tmp_path / "results" / "results.csv")
    assert len(rows) == 6
    assert float(np.mean(rows["mse"].to_numpy())) == pytest.approx(0.37)


def test_look_backs_percents_and_features_never_share_a_table(write_run, tmp_path):
    for number, changes in enumerate(({}, {"seq_len": 96}, {"percent": 10}, {"features": "S", "seed": 1})):
        write_run(mse=0.1 * (number + 1), **changes)
    results = collect(tmp_path / "results")
    tables = [
        table
        for table in results.tables
        if table.heads == ["data", "horizon"] and "Published" not in table.title and "different" not in table.title
    ]
    assert sorted(cell_texts(table)["ETTh1", "4"]["BALM MSE"] for table in tables) == [
        "0.100",
        "0.200",
        "0.300",
        "0.400",
    ]


def test_an_incomplete_cell_shows_a_dash_and_its_number_of_seeds_and_the_missing_seed_is_named(write_run, tmp_path):
    for seed in (0, 42):
        write_run(seed=seed)
    write_run(model="DLinear", seed=42)
    table = table_of(collect(tmp_path / "results"), "long term")
    assert cell_texts(table)["ETTh1", "4"]["DLinear MSE"] == "- (1/2 seeds)"
    assert "Incomplete: DLinear on ETTh1, horizon 4: no run of seed 0." in table.notes


def test_a_model_without_trained_weights_needs_one_seed_only(write_run, tmp_path):
    for seed in (0, 42):
        write_run(seed=seed)
    write_run(model="LastValue", mse=1.25, parameters={"total": 0, "trainable": 0, "inference": 0})
    texts = cell_texts(table_of(collect(tmp_path / "results"), "long term"))["ETTh1", "4"]
    assert texts["LastValue MSE"] == "1.250" and texts["SeasonalNaive MSE"] == "0.600"


def test_the_average_is_over_all_horizons_of_a_data_set_or_a_dash(write_run, tmp_path):
    for pred_len, mse in ((4, 0.2), (8, 0.4)):
        write_run(pred_len=pred_len, mse=mse)
    write_run(model="DLinear", pred_len=8)
    average = cell_texts(table_of(collect(tmp_path / "results"), "long term"))["ETTh1", "avg"]
    assert average["BALM MSE"] == "0.300" and average["DLinear MSE"].startswith("-")


@pytest.mark.parametrize("label", ["demo data", "random LLM", "fast_dev_run", "shortened"])
def test_a_labelled_run_is_never_among_paper_results(write_run, tmp_path, label):
    write_run(mse=0.4)
    write_run(model="DLinear", mse=0.1, labels=(label,), seed=7)
    results = collect(tmp_path / "results")
    for table in results.tables:
        is_labelled = "DLinear" in str(table.columns) + str([heads for heads, _ in table.rows])
        if "Published" not in table.title:
            assert (label in table.warning) == is_labelled
    paper, marked = (table for table in results.tables if table.title.startswith("long term"))
    assert (paper.warning, marked.warning) == ("", f"Not paper results: {label}")
    assert "incomplete" not in " ".join(paper.notes).lower()


def test_ablations_of_a_model_are_columns_of_their_own_and_recipes_are_not(write_run, tmp_path):
    write_run(model_config={"text_branch": "llm", "d_ff": 128})
    write_run(mse=0.5, model_config={"text_branch": "none", "d_ff": 128}, command=("--text_branch", "none"))
    write_run(data="ETTh2", model_config={"text_branch": "llm", "d_ff": 256}, command=("--d_ff", "256"))
    results = collect(tmp_path / "results")
    assert set(results.rows["name"]) == {"BALM", "BALM (text_branch=none)"}
    assert "BALM (text_branch=none)" not in str(table_of(results, "long term").columns)
    texts = cell_texts(table_of(results, "Ablations of BALM"))
    assert list(texts) == [("ETTh1", "4", "BALM"), ("ETTh1", "4", "BALM (text_branch=none)")]
    control = texts["ETTh1", "4", "BALM (text_branch=none)"]
    assert (control["test error MSE"], control["less that of BALM MSE"]) == ("0.500", "+0.100")
    assert control["parameters total"] == "82.88 M"


def test_a_flag_that_every_run_was_given_is_always_said(write_run, tmp_path):
    for scaling in (True, False):
        write_run(model_config={"scaling": scaling}, command=("--scaling" if scaling else "--no_scaling",))
    assert set(collect(tmp_path / "results").rows["name"]) == {"BALM (scaling)", "BALM (no_scaling)"}


def test_a_control_alone_is_not_taken_for_the_model_itself_when_the_defaults_are_on_record(write_run, tmp_path):
    config = {"text_branch": "none", "d_ff": 256, "scaling": True, "llm_model": "random"}
    folder = write_run(model_config=config, command=("--text_branch", "none"))
    record = json.loads((folder / "config.json").read_text())
    record["model_defaults"] = {"text_branch": "llm", "d_ff": 128, "scaling": True, "llm_model": "gpt2"}
    (folder / "config.json").write_text(json.dumps(record))
    assert list(collect(tmp_path / "results").rows["name"]) == ["BALM (text_branch=none)"]


def test_a_flag_with_a_role_in_the_config_is_no_variant(write_run, tmp_path):
    for size in (8, 16):
        folder = write_run(model_config={"d_ff": size}, command=("--d_ff", str(size)))
        record = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(record | {"flag_roles": {"d_ff": "numerics"}}))
    results = collect(tmp_path / "results")
    assert list(results.rows["name"]) == ["BALM"] and len(results.skipped) == 1


def test_every_measure_that_a_test_names_is_a_column_of_the_tables(write_run, tmp_path):
    for seed, crps in ((0, 0.2), (1, 0.3)):
        test = {"mse": 0.4, "mae": 0.5, "crps": crps, "crps_original": 2.0, "measures": ["crps", "mse"]}
        write_run(seed=seed, tests={"ETTh1": test | {"naive": {"LastValue": {"mse": 0.8, "mae": 0.9}}}})
    results = collect(tmp_path / "results")
    texts = cell_texts(table_of(results, "long term"))["ETTh1", "4"]
    assert list(texts) == ["BALM CRPS", "BALM MSE", "LastValue CRPS", "LastValue MSE"]
    assert list(texts.values()) == ["0.250 ± 0.071", "0.400 ± 0.000", "-", "0.800"]
    assert list(results.rows["crps_original"]) == [2.0, 2.0]


def test_runs_without_naive_forecasts_have_the_same_tables_without_them(write_run, tmp_path):
    for seed, mse in ((0, 0.3), (1, 0.4)):
        write_run(seed=seed, tests={"ETTh1": {"mse": mse, "mae": mse, "measures": ["mse", "mae"]}})
    accuracy, cost = collect(tmp_path / "results").tables
    assert cell_texts(accuracy) == {("ETTh1", "4"): {"BALM MSE": "0.350 ± 0.071", "BALM MAE": "0.350 ± 0.071"}}
    assert cell_texts(cost)["ETTh1", "4", "BALM"]["parameters total"] == "82.88 M"


def test_what_a_run_did_not_record_is_a_dash(write_run, tmp_path):
    for scaling in (True, False):
        flag = "--scaling" if scaling else "--no_scaling"
        write_run(model_config={"scaling": scaling}, command=(flag,) * (not scaling), parameters={}, seconds={})
    tables = collect(tmp_path / "results").tables
    for table in tables[1:]:
        (*_, changed) = cell_texts(table).values()
        assert changed["parameters total"] == "-"
    assert cell_texts(tables[0])["ETTh1", "4"]["BALM MSE"] == "0.400"


def test_zero_shot_targets_are_rows_of_their_own(write_run, tmp_path):
    folder = write_run(task_name="zero_shot_forecast")
    metrics = json.loads((folder / "metrics.json").read_text())
    test = metrics["tests"].pop("ETTh1")
    metrics["tests"] = {"ETTm1": test, "ETTm2": {**test, "mse": 0.9, "mae": 0.8}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    texts = cell_texts(table_of(collect(tmp_path / "results"), "zero shot"))
    assert texts["ETTh1->ETTm2", "4"]["BALM MSE"] == "0.900" and ("ETTh1->ETTm1", "4") in texts


def test_comparing_two_models_pairs_their_windows_and_says_how(write_run, tmp_path):
    generator = np.random.default_rng(0)
    errors = generator.gamma(4, 0.1, 400)
    for seed in (0, 1):
        write_run(seed=seed, window_errors=errors, mse=errors.mean())
        worse = errors + generator.gamma(4, 0.01, 400)
        write_run(model="DLinear", seed=seed, window_errors=worse, mse=worse.mean())
    table = table_of(collect(tmp_path / "results", ("BALM", "DLinear")), "BALM against DLinear")
    texts = cell_texts(table)["ETTh1", "4"]
    assert texts["difference mean"].startswith("-0.0") and texts["p bootstrap"] == "< 0.001"
    assert texts["number of blocks"] == "50" and texts["number of seeds"] == "2"
    assert any("overlap" in note for note in table.notes)


def test_a_comparison_that_cannot_be_made_is_named(write_run, tmp_path, capsys):
    write_run()
    write_run(model="DLinear", num_windows=150)
    assert main([str(tmp_path / "results"), "--compare", "BALM", "DLinear"]) == 0
    assert "tested on 200 and 150 windows" in capsys.readouterr().err
    assert main([str(tmp_path / "results"), "--compare", "BALM", "GPT4TS"]) == 1
    assert "--compare GPT4TS" in capsys.readouterr().err


def test_a_run_that_was_not_tested_on_every_window_is_not_compared(write_run, tmp_path):
    write_run()
    write_run(model="DLinear", window_errors=np.r_[np.full(20, 0.4), np.zeros(180)])
    results = collect(tmp_path / "results", ("BALM", "DLinear"))
    assert len(results.problems) == 1 and "not tested on every window" in results.problems[0]


def damage(results, write_run):
    (results / "empty").mkdir(parents=True)
    for number, (name, content) in enumerate(
        {
            "metrics.json": "{",
            "config.json": "[1]",
            "history.jsonl": "{]",
        }.items()
    ):
        folder = write_run(seed=number)
        (folder / name).write_text(content)
        folder.rename(results / f"damaged {name}")
    write_run(seed=10, format=3).rename(results / "another version")
    write_run(seed=11, mse=float("nan"), window_errors=np.ones(9)).rename(results / "diverged")
    unfinished = write_run(seed=12)
    (unfinished / "metrics.json").unlink()
    unfinished.rename(results / "unfinished")


def test_every_unusable_folder_is_named_with_its_reason_and_the_others_are_used(write_run, tmp_path, capsys):
    damage(tmp_path / "results", write_run)
    write_run(seed=20)
    assert main([str(tmp_path / "results")]) == 0
    output = capsys.readouterr().err
    for reason in (
        "empty: the folder is empty",
        "damaged metrics.json: metrics.json is not a readable JSON file",
        "damaged config.json: config.json is damaged",
        "damaged history.jsonl: history.jsonl is not a readable JSON file",
        "another version: metrics.json has format 3",
        "diverged: history.jsonl is not a readable JSON file (NaN is not a number of JSON)",
        "unfinished: the run has not finished: there is no metrics.json (3 epochs so far)",
    ):
        assert f"left out: {reason}" in output
    assert output.count("left out:") == 7
    assert "another version" in (tmp_path / "results" / "results.html").read_text()


def test_exit_code_is_1_only_when_nothing_could_be_read(write_run, tmp_path, capsys):
    damage(tmp_path / "results", write_run)
    assert main([str(tmp_path / "results")]) == 1
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "results" / "results.csv").exists()


def test_the_files_go_to_a_folder_of_ones_own_or_the_reason_why_not_is_said(write_run, tmp_path, capsys):
    write_run()
    assert main([str(tmp_path / "results"), "--output", str(tmp_path / "new" / "tables")]) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "tables").iterdir()) == [
        "results.csv",
        "results.html",
        "results.md",
    ]
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "results"), "--output", str(tmp_path / "file")]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_of_two_runs_with_the_same_settings_and_seed_one_is_used_and_the_other_named(write_run, tmp_path):
    write_run().rename(tmp_path / "results" / "first")
    write_run(mse=0.5)
    results = collect(tmp_path / "results")
    assert len(results.rows) == 1 and len(results.skipped) == 1
    assert "same settings and seed 2021" in next(iter(results.skipped.values()))
