"""A row of a committed CSV run again, and rows that a queue need not run."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from exp import replay
from exp.grid.__main__ import main as grid
from exp.replay import main
from tests.exp.small_runs import table
from utils.signals import INTERRUPTED
from utils.source import ROOT
from utils.verdict.collection import RESULTS, collect

SIZES = "--seq_len 24 --pred_len 6 --train_epochs 1 --batch_size 64"


@pytest.fixture(scope="module")
def csv(tmp_path_factory) -> Path:
    """Two seeds, each trained by a process of its own, which records the files that a run imports."""
    folder = tmp_path_factory.mktemp("replay")
    table(200).to_csv(folder / "my.csv", index=False)
    for seed in ("2021", "1"):
        command = f"run.py --model DLinear --data custom --data_path {folder}/my.csv {SIZES} --seed {seed}".split()
        subprocess.run([sys.executable, *command, "--output_dir", folder / "results"], cwd=ROOT, check=True)
    assert collect([folder / "results"], folder).added == 2
    return folder / RESULTS


def replayed(rows: pd.DataFrame, place: Path) -> int:
    """The exit code for the first of these rows."""
    rows.to_csv(place / "changed.csv", index=False)
    return main([str(place / "changed.csv"), "--row", str(rows["run_id"][0])])


def test_a_row_gives_the_same_errors_again(csv, capsys):
    assert main([str(csv), "--row", str(pd.read_csv(csv)["run_id"][0])]) == 0
    assert "identical: MSE" in capsys.readouterr().out


def test_a_row_with_other_errors_fails_with_the_same_code_on_the_same_machine(csv, tmp_path, capsys):
    rows = pd.read_csv(csv)
    rows["mse"] += 1e-9
    assert replayed(rows, tmp_path) == 1
    said = capsys.readouterr().out
    assert "on the same kind of machine" in said and "code was another" not in said


def test_a_row_of_other_code_is_compared_with_the_scatter_of_the_seeds(csv, tmp_path, capsys):
    rows = pd.read_csv(csv).assign(code="0" * 8, git_revision="abc")
    rows["mse"] += [1e-4, 0.1]
    assert replayed(rows, tmp_path) == 0
    assert "that of revision abc: check it out to compare digits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("flags", "", "flags should be a list of words, not nan"),
        ("flags", "[1, 2]", "flags should be a list of words, not [1, 2]"),
        ("mse", "much", "mse of DLinear_my_24_6_"),
        ("cell", None, "has no column cell"),
    ],
)
def test_a_row_that_cannot_be_compared_is_one_line_and_nothing_is_trained(
    column, value, said, csv, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(replay.subprocess, "run", None)
    rows = pd.read_csv(csv, dtype=str)
    assert replayed(rows.drop(columns=column) if value is None else rows.assign(**{column: value}), tmp_path) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(("code", "outcome"), [(INTERRUPTED, KeyboardInterrupt), (1, None)])
def test_a_run_that_does_not_end_well_is_an_interrupt_or_an_error(code, outcome, csv, monkeypatch, capsys):
    monkeypatch.setattr(replay.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code))
    command = [str(csv), "--row", str(pd.read_csv(csv)["run_id"][0])]
    if outcome is not None:
        with pytest.raises(outcome):
            main(command)
    else:
        assert main(command) == 2
        assert "the run ended with exit code 1" in capsys.readouterr().err


def test_an_unknown_row_is_one_line(csv, capsys):
    assert main([str(csv), "--row", "nothing"]) == 2
    assert "has no run nothing" in capsys.readouterr().err


def test_a_queue_skips_what_is_in_the_csv(csv, tmp_path, capsys):
    data = csv.parent / "my.csv"
    script = tmp_path / "script.sh"
    script.write_text(f"python run.py --model DLinear --data custom --data_path {data} {SIZES} $@\n")
    command = ["--scripts", str(script), "--list", "--finished", str(csv), "--"]
    for seed, state in (("2021", "already finished"), ("7", "waiting")):
        assert grid([*command, "--output_dir", str(tmp_path / "empty"), "--seed", seed]) == 0
        assert state in capsys.readouterr().out
