"""The M4 experiment, from the command to the run folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from data_provider.m4 import load_m4
from exp.command_line import WrongInput, run_command
from exp.m4_scores import M4Reference, overall
from tests.exp.m4_files import write_m4
from utils.report.finished_runs import read_run


@pytest.fixture
def root(tmp_path) -> Path:
    """Two frequencies of six and four series."""
    return write_m4(tmp_path)


def command(root: Path, *more: str, model: str = "NLinear") -> list[str]:
    words = f"--task_name short_term_forecast --data M4 --model {model} --train_epochs 1 --batch_size 4 --device cpu"
    return [*words.split(), "--root_path", str(root), "--output_dir", str(root / "results"), *more]


BOTH = ("--m4_frequencies", "Quarterly", "Yearly")


def folders(root: Path) -> dict[str, Path]:
    return {path.name.split("_")[1]: path for path in (root / "results").iterdir()}


def test_each_frequency_leaves_a_complete_run_folder(root):
    (text,) = run_command(command(root, *BOTH))
    assert set(folders(root)) == {"M4-Quarterly", "M4-Yearly"}
    quarterly = folders(root)["M4-Quarterly"]
    metrics = read_run(quarterly).metrics
    assert (metrics["seq_len"], metrics["pred_len"], metrics["data"]) == (16, 8, "M4-Quarterly")
    test = metrics["tests"]["M4-Quarterly"]
    assert test.get("num_rows") == 6
    assert test.get("naive", {})["Naive2"]["owa"] == 1.0
    assert {"smape", "mase", "owa"} <= set(metrics.get("validation", {}))
    history = [json.loads(line) for line in (quarterly / "history.jsonl").read_text().splitlines()]
    assert set(history[0]["train"]) == {"loss", "smape"}
    assert len(list((quarterly / "plots").glob("*.png"))) == 2
    assert "M4, 10 series" in text


def test_the_scores_are_those_of_the_forecasts_in_the_run_folder(root):
    list(run_command(command(root, "--m4_frequencies", "Quarterly")))
    folder = folders(root)["M4-Quarterly"]
    with (folder / "forecasts.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["id", *(f"F{step}" for step in range(1, 9))]
    assert [row[0] for row in rows] == [f"Q{number}" for number in range(6)]
    forecast = np.array([row[1:] for row in rows], dtype=float)
    data = load_m4(root, "Quarterly")
    smape = 200 * np.mean(np.abs(forecast - data.test) / (np.abs(forecast) + np.abs(data.test)))
    naive_error = [np.mean(np.abs(series[4:] - series[:-4])) for series in data.train]
    mase = np.mean(np.mean(np.abs(forecast - data.test), axis=1) / naive_error)
    metrics = json.loads((folder / "metrics.json").read_text())["tests"]["M4-Quarterly"]
    assert metrics["smape"] == pytest.approx(smape, rel=1e-4)
    assert metrics["mase"] == pytest.approx(mase, rel=1e-4)
    naive2 = metrics["naive"]["Naive2"]
    assert metrics["owa"] == pytest.approx(0.5 * (smape / naive2["smape"] + mase / naive2["mase"]), rel=1e-4)


def test_the_test_series_change_neither_training_nor_validation(root):
    list(run_command(command(root, "--m4_frequencies", "Yearly")))
    first = (folders(root)["M4-Yearly"] / "history.jsonl").read_text()
    path = root / "m4" / "Yearly-test.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"Y{number}" + ",1.5" * 6 for number in range(4))]))
    list(run_command(command(root, "--m4_frequencies", "Yearly", "--des", "again")))
    again = next(path for path in (root / "results").iterdir() if "again" in path.name)
    assert (again / "history.jsonl").read_text() == first


def test_finished_frequencies_are_kept_and_the_others_run(root):
    list(run_command(command(root, "--m4_frequencies", "Yearly")))
    before = (folders(root)["M4-Yearly"] / "metrics.json").stat().st_mtime_ns
    (text,) = run_command(command(root, *BOTH))
    assert (folders(root)["M4-Yearly"] / "metrics.json").stat().st_mtime_ns == before
    assert "M4-Yearly, 4 series" in text and "M4, 10 series" in text
    with pytest.raises(WrongInput, match="holds a finished run of exactly these flags"):
        list(run_command(command(root, *BOTH)))


def test_the_frequencies_chosen_do_not_decide_the_run_folder(root):
    list(run_command(command(root, "--m4_frequencies", "Yearly")))
    list(run_command(command(root, "--m4_frequencies", "Yearly", "Quarterly")))
    assert len(list((root / "results").iterdir())) == 2


def test_several_seeds_end_in_a_mean(root):
    *_, spread = run_command(command(root, *BOTH, "--seeds", "1", "2"))
    assert "M4-Quarterly: smape" in spread and "owa" in spread
    *_, again = run_command(command(root, *BOTH, "--seeds", "1", "2"))
    assert again == spread


def test_a_finished_run_can_be_tested_again(root):
    list(run_command(command(root, "--m4_frequencies", "Yearly")))
    first = json.loads((folders(root)["M4-Yearly"] / "metrics.json").read_text())["tests"]["M4-Yearly"]
    (text,) = run_command(command(root, "--m4_frequencies", "Yearly", "--is_training", "0"))
    assert f"{first['smape']:.3f}" in text


def test_calf_learns_on_m4_with_the_published_losses(root, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    flags = "--llm_model random --llm_layers 1 --llm_width 16 --llm_heads 2 --num_components 4 --output_loss mase "
    flags += "--feature_loss smooth_l1 --lradj cosine --train_epochs 6 --learning_rate 6e-3 --m4_frequencies Quarterly"
    list(run_command(command(root, *flags.split(), model="CALF")))
    folder = folders(root)["M4-Quarterly"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert set(history[0]["train"]) == {"loss", "smape", "output", "feature"}
    assert min(epoch["validation"]["smape"] for epoch in history) < 0.8 * history[0]["validation"]["smape"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--m4_frequencies", "Hourly"], "lacks Hourly-train.csv, Hourly-test.csv"),
        (["--m4_frequencies", "Secondly"], "--m4_frequencies must be among Yearly"),
        ([*BOTH, "--seq_len", "96", "--percent", "10"], "--seq_len, --percent cannot be chosen for --data M4"),
        ([*BOTH, "--data", "ETTh1"], "--task_name short_term_forecast needs --data M4, got ETTh1"),
    ],
    ids=str,
)
def test_wrong_flags_are_one_line_and_leave_nothing(root, flags, message):
    with pytest.raises(WrongInput, match=message) as caught:
        list(run_command(command(root, *flags)))
    assert "\n" not in str(caught.value)
    assert not (root / "results").exists()


def test_m4_is_refused_by_other_tasks(root):
    with pytest.raises(
        WrongInput, match=r"--data M4 is a set of many short series: .* --task_name short_term_forecast"
    ):
        list(run_command(["--data", "M4", "--root_path", str(root), "--model", "NLinear"]))


@pytest.mark.parametrize(("name", "smape", "mase"), [("Hourly", 18.383, 2.395), ("Weekly", 9.161, 2.777)])
def test_naive2_has_the_competitions_published_errors_on_the_real_files(shared, name, smape, mase):
    reference = M4Reference.of(load_m4(shared / "dataset", name), "test")
    scores = reference.scores(reference.naive2, np.ones(len(reference.target), dtype=bool))
    assert scores["smape"] == pytest.approx(smape, abs=6e-4)
    assert scores["mase"] == pytest.approx(mase, abs=6e-4)
    assert scores["owa"] == 1.0


def test_all_series_weigh_the_same_in_the_overall_score():
    def entry(num_rows: int, smape: float, mase: float) -> dict:
        return {"num_rows": num_rows, "smape": smape, "mase": mase, "naive": {"Naive2": {"smape": 10.0, "mase": 2.0}}}

    together = overall({"a": entry(3, 8.0, 1.0), "b": entry(1, 16.0, 3.0)})
    assert (together["smape"], together["mase"], together["num_rows"]) == (10.0, 1.5, 4)
    assert together["owa"] == pytest.approx(0.5 * (10 / 10 + 1.5 / 2))


def with_series(root: Path, series: list[np.ndarray]) -> None:
    """Replaces the yearly series."""
    for part, cut in (("train", slice(None, -6)), ("test", slice(-6, None))):
        lines = [",".join([f"Y{number}", *map(str, values[cut])]) for number, values in enumerate(series)]
        (root / "m4" / f"Yearly-{part}.csv").write_text("\n".join(["id", *lines]))


def test_series_that_are_all_constant_are_refused_in_one_line(root):
    with_series(root, [np.full(30, level) for level in (0.0, 3.0, 5.0)])
    with pytest.raises(WrongInput, match="M4-Yearly: Naive2 makes no error on the validation of any series"):
        list(run_command(command(root, "--m4_frequencies", "Yearly")))
    assert not (root / "results").exists()


def test_zeros_with_spikes_beside_a_constant_series_have_finite_scores(root):
    spikes = np.zeros(36)
    spikes[::5] = 1e6
    with_series(root, [spikes, np.roll(spikes, 2), np.full(36, 3.0), np.zeros(36)])
    (text,) = run_command(command(root, "--m4_frequencies", "Yearly"))
    test = dict(read_run(folders(root)["M4-Yearly"]).metrics["tests"]["M4-Yearly"])
    assert all(np.isfinite(float(str(test[name]))) for name in ("smape", "mase", "owa")) and "nan" not in text
