"""Every command of every script is one that the real parser takes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exp.command_line import parse_command
from exp.grid.commands import commands_of_script

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(ROOT.glob("scripts_*/*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}/{script.stem}")
def test_every_command_of_a_script_parses_and_gets_the_extra_flags(script: Path) -> None:
    commands = commands_of_script(script, ["--des", "two words"])
    assert commands, f"{script} runs nothing"
    for command in commands:
        settings = parse_command(command[1:])
        assert settings.train.des == "two words"
        assert settings.model_name == script.stem.split("_")[0] or script.stem == "Simple_models"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}/{script.stem}")
def test_a_long_term_script_covers_the_four_horizons(script: Path) -> None:
    if script.parent.name not in ("scripts_long_term", "scripts_few_shot", "scripts_zero_shot"):
        return
    if script.stem == "UniTime_all":
        return  # one model, tested at every horizon of each data set
    commands = commands_of_script(script)
    horizons = [24, 36, 48, 60] if "_ILI" in script.name else [96, 192, 336, 720]
    assert sorted(parse_command(command[1:]).data.pred_len for command in commands) == horizons


@pytest.mark.shared
def test_every_published_recipe_of_balm_is_in_its_script(shared: Path) -> None:
    """The table has what really ran; a learning rate of it was not the one on the published command line."""
    with (shared / "spec" / "recipes_balm.csv").open() as file:
        recipes = list(csv.DictReader(file))
    assert len(recipes) == 40
    for recipe in recipes:
        script = ROOT / f"scripts_{recipe['task']}" / f"BALM_{recipe['dataset']}_GPT2.sh"
        commands = [parse_command(words[1:]) for words in commands_of_script(script)]
        (settings,) = (found for found in commands if found.data.pred_len == int(recipe["pred_len"]))
        data, train, model = settings.data, settings.train, settings.model
        rows = int(recipe["batch_per_process"])
        expected = {
            "data": (recipe["dataset"], int(recipe["percent"]), int(recipe["seq_len"])),
            "rows": (rows * int(recipe["processes"]), rows),
            "model": (int(recipe["d_model"]), int(recipe["d_ff"]), int(recipe["llm_layers"])),
            "schedule": (recipe["effective_schedule"], float(recipe["effective_peak_learning_rate"])),
            "cosine_epochs": int(recipe["effective_cosine_epochs"] or train.cosine_epochs),
            "adam_beta1": float(recipe["effective_adam_beta1"]),
            "epochs": (int(recipe["train_epochs"]), int(recipe["patience"])),
        }
        found = {
            "data": (data.data, data.percent, data.seq_len),
            "rows": (train.batch_size, model.alignment_rows),
            "model": (model.d_model, model.d_ff, model.llm_layers),
            "schedule": (train.lradj, train.learning_rate),
            "cosine_epochs": train.cosine_epochs,
            "adam_beta1": train.adam_beta1,
            "epochs": (train.train_epochs, train.patience),
        }
        assert found == expected, recipe


def test_a_script_goes_on_after_a_run_that_fails_and_says_so_at_the_end(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/usr/bin/env bash\necho call >> "{calls}"\n[ "$(wc -l < "{calls}")" != 2 ]\n')
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = ROOT / "scripts_long_term" / "BALM_ETTh1_GPT2.sh"
    assert subprocess.run(["bash", str(script)], env=environment, cwd=ROOT).returncode == 1
    # Four runs, and the table at the end.
    assert len(calls.read_text().splitlines()) == 5


def test_the_tests_run_on_a_supported_python() -> None:
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)


def output_of(script: str, folder: Path, *, horizons: str = "96", look_back: str = "") -> subprocess.CompletedProcess:
    """What a script prints that is started in `folder`, with a python that prints its words."""
    stand_in = folder / "python"
    stand_in.write_text('#!/bin/sh\npwd\necho "$@"\n')
    stand_in.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HORIZONS": horizons, **({"LOOK_BACK": look_back} if look_back else {})}
    command = ["bash", str(ROOT / script), "--des", "x"]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def test_a_script_starts_from_any_folder_at_another_look_back_and_ends_with_one_table(tmp_path: Path) -> None:
    lines = output_of("scripts_long_term/CALF_ETTh1_GPT2.sh", tmp_path, look_back="512").stdout.splitlines()
    assert lines[0] == str(ROOT) and "--seq_len 512" in lines[1]
    assert lines[1].endswith("--pred_len 96 --recipe published --des x")
    assert lines[3:] == ["-m utils.report.summary --model CALF --data ETTh1 --des x"]
    ablation = output_of("scripts_ablation/BALM_ETTh1.sh", tmp_path).stdout.splitlines()
    tables = [line for line in ablation if line.startswith("-m utils.report")]
    assert len(tables) == 1


def test_a_script_without_the_wanted_horizon_says_which_it_has(tmp_path: Path) -> None:
    done = output_of("scripts_long_term/DLinear_ETTh1.sh", tmp_path, horizons="100")
    assert done.returncode == 2
    assert "HORIZONS='100' names no horizon of this script: it has 96 192 336 720" in done.stderr
