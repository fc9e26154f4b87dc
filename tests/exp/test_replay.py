"""A row of a committed CSV run again, and rows that a queue need not run."""

from pathlib import Path

import pandas as pd
import pytest

from exp.grid.__main__ import main as grid
from exp.replay import main
from exp.training.loop import Interrupted
from tests.exp.small_runs import TINY_LLM, table, train
from utils.verdict.collection import RESULTS, collect

FLAGS = [*TINY_LLM, "--patch_len", "4", "--stride", "2", "--d_model", "4", "--d_ff", "8", "--text_branch", "numbers"]


@pytest.fixture(scope="module")
def csv(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    table(200).to_csv(folder / "my.csv", index=False)
    train(folder / "my.csv", folder / "results", *FLAGS, model="BALM")
    assert collect([folder / "results"], folder).added == 1
    return folder / RESULTS


def test_a_row_gives_the_same_errors_again(csv, capsys):
    row = str(pd.read_csv(csv)["run_id"][0])
    assert main([str(csv), "--row", row]) == 0
    assert "identical: MSE" in capsys.readouterr().out


def test_a_row_with_other_errors_fails(csv, tmp_path, capsys):
    rows = pd.read_csv(csv)
    rows["mse"] += 1e-9
    rows.to_csv(tmp_path / "changed.csv", index=False)
    assert main([str(tmp_path / "changed.csv"), "--row", str(rows["run_id"][0])]) == 1
    assert "on the same kind of machine" in capsys.readouterr().out


def test_a_row_of_other_code_is_compared_with_the_scatter_of_the_seeds(csv, tmp_path, capsys):
    row = pd.read_csv(csv).assign(code="0" * 8, git_revision="abc")
    near = row.assign(mse=row["mse"] + 1e-4)
    far = row.assign(mse=row["mse"] + 0.1, seed=1, run_id="another")
    pd.concat([near, far]).to_csv(tmp_path / "changed.csv", index=False)
    assert main([str(tmp_path / "changed.csv"), "--row", str(row["run_id"][0])]) == 0
    assert "that of revision abc: check it out to compare digits" in capsys.readouterr().out


def test_ctrl_c_while_it_trains_is_an_interrupt(csv, monkeypatch):
    def interrupted(_: object) -> None:
        raise Interrupted("goes on from a state")

    monkeypatch.setattr("exp.replay.run_command", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([str(csv), "--row", str(pd.read_csv(csv)["run_id"][0])])


def test_an_unknown_row_is_one_line(csv, capsys):
    assert main([str(csv), "--row", "nothing"]) == 2
    assert "has no run nothing" in capsys.readouterr().err


def test_a_queue_skips_what_is_in_the_csv(csv, tmp_path, capsys):
    data = csv.parent / "my.csv"
    script = tmp_path / "script.sh"
    sizes = "--seq_len 24 --pred_len 6 --train_epochs 1 --batch_size 64"
    script.write_text(f"python run.py --model BALM --data custom --data_path {data} {sizes} {' '.join(FLAGS)} $@\n")
    command = ["--scripts", str(script), "--list", "--finished", str(csv), "--"]
    for seed, state in (("2021", "already finished"), ("1", "waiting")):
        assert grid([*command, "--output_dir", str(tmp_path / "empty"), "--seed", seed]) == 0
        assert state in capsys.readouterr().out
