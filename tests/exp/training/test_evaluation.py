"""A new metric is one class and one entry in METRICS; every record and table then has it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.exp.runs import flags, run_folder, run_here
from utils.intervals.conformal import AbsoluteErrors
from utils.metrics import METRICS, MeanError
from utils.results import collect, write_results


class Pinball(MeanError):
    """Quantile loss of level 0.9."""

    name = "pinball"

    @staticmethod
    def error(forecast: Tensor, target: Tensor) -> Tensor:
        return torch.maximum(0.9 * (target - forecast), 0.1 * (forecast - target))


class MedianAbsoluteError(AbsoluteErrors):
    """A measure that is no mean."""

    def values(self) -> dict[str, float]:
        return {"MedAE": self.errors.median().item()}


@pytest.fixture
def new_metrics() -> Iterator[None]:
    METRICS.extend([Pinball, MedianAbsoluteError])
    yield
    del METRICS[-2:]


@pytest.mark.usefixtures("new_metrics")
def test_a_new_metric_stands_in_every_record_and_in_the_tables(tmp_path, capsys):
    assert run_here(flags(tmp_path, "--train_epochs", "1")) == 0
    folder = run_folder(tmp_path)
    found = json.loads((folder / "metrics.json").read_text())
    (test,) = found["tests"].values()
    assert test["measures"] == ["mse", "mae", "pinball", "MedAE"]
    # The losses of levels 0.9 and 0.1 add up to the absolute error.
    assert 0.1 * test["mae"] < test["pinball"] < 0.9 * test["mae"]
    assert 0 < test["MedAE"] < test["mae"]
    assert len(test["per_channel"]["pinball"]) == 2
    assert len(test["per_step"]["pinball"]) == 24
    assert {"pinball", "MedAE"} <= set(test["naive"]["LastValue"])
    (epoch,) = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert list(epoch["validation"]) == test["measures"]
    by_window = load_file(folder / "window_errors.safetensors")["pinball"]
    assert by_window.mean().item() == pytest.approx(test["pinball"], rel=1e-5)
    said = capsys.readouterr().out.splitlines()
    (header,) = [line for line in said if "MSE relative" in line]
    assert header.split()[4:] == ["MSE", "MAE", "PINBALL", "MedAE", "MSE", "relative"]
    (row,) = [line.split() for line in said if line.split()[:1] == ["DLinear"]]
    assert row[1:5] == [f"{test[measure]:.4f}" for measure in test["measures"]]
    write_results(collect(tmp_path / "results"), tmp_path, tmp_path)
    table = (tmp_path / "results.md").read_text()
    assert "PINBALL" in table and "MedAE" in table
    with (tmp_path / "results.csv").open() as file:
        (written,) = csv.DictReader(file)
    assert float(written["pinball"]) == pytest.approx(test["pinball"])
