"""`--optimizer`, `--weight_decay` and `--clip_grad_norm` change the training, and are part of the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import run
from tests.exp.runs import flags, run_folder
from utils.report.finished_runs import read_run
from utils.report.variants import variants

DECAY = ["--weight_decay", "0.1"]
CHOICES = {"adam": [], "decay": DECAY, "adamw": ["--optimizer", "adamw", *DECAY], "clip": ["--clip_grad_norm", "0.01"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """The run folder of each choice."""
    folder = tmp_path_factory.mktemp("optimizers")
    for name, chosen in CHOICES.items():
        assert run.main(flags(folder, "--train_epochs", "1", *chosen, output=name)) == 0
    return {name: run_folder(folder, name) for name in CHOICES}


def test_each_choice_trains_in_its_own_way(trained):
    histories = [json.loads((path / "history.jsonl").read_text())["validation"]["mse"] for path in trained.values()]
    assert len(set(histories)) == len(CHOICES)


def test_the_record_and_the_run_id_say_which_it_was(trained):
    assert len({path.name for path in trained.values()}) == len(CHOICES)
    recorded = json.loads((trained["adamw"] / "config.json").read_text())["train_config"]
    assert (recorded["optimizer"], recorded["weight_decay"], recorded["clip_grad_norm"]) == ("adamw", 0.1, 0.0)
    names = variants([read_run(path) for path in trained.values()])
    flags_in_names = [text.removesuffix("edited").strip(", ") for text in names.values()]
    assert flags_in_names == [
        "",
        "weight_decay=0.1",
        "optimizer=adamw, weight_decay=0.1",
        "clip_grad_norm=0.01",
    ]


def test_names_that_are_no_texts_are_shown_as_they_are(trained):
    """A config.json written by hand takes no table down."""
    record = read_run(trained["adamw"])
    record.config["train_config"] = {**record.config.get("train_config", {}), "model_id": {"x": 1}, "des": -1}
    (name,) = variants([record]).values()
    assert name.startswith("{'x': 1}, -1")
