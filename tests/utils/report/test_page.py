"""The HTML page about all runs."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from utils.report.__main__ import main
from utils.report.alignment import alignment_summary


class Page(HTMLParser):
    """Every tag with its attributes, and the JSON that the page carries."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.in_data, self.json = False, ""
        self.feed(text)
        self.data = json.loads(self.json)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.in_data = dict(attrs).get("id") == "data"

    def handle_data(self, data):
        if self.in_data:
            self.json += data


def report(root: Path, *options: str) -> tuple[str, list[dict[str, Any]]]:
    assert main([str(root), *options]) == 0
    text = (root / "report.html").read_text()
    return text, Page(text).data["runs"]


def test_the_page_loads_nothing_from_anywhere(write_run, tmp_path):
    write_run(alignment=True)
    text, _ = report(tmp_path / "results")
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    for _, attributes in Page(text).tags:
        assert not attributes.keys() & {"src", "onload", "onclick"}
        assert (attributes.get("href") or "#").startswith("#")
    assert "default-src 'none'" in text


def test_a_name_from_a_file_is_only_ever_text(write_run, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    write_run(model=f"{'A'}<img src=x onerror=alert(2)>".replace("/", ""), columns=(hostile, "<b>OT"), labels=("<i>",))
    text, runs = report(tmp_path / "results")
    assert hostile not in text and "<img" not in text and "<b>OT" not in text and "<i>" not in text
    assert runs[0]["forecasts"]["columns"] == [hostile, "<b>OT"]
    assert [tag for tag, _ in Page(text).tags].count("script") == 3


def test_a_run_is_shown_with_curves_forecasts_in_original_units_and_errors_by_step_and_channel(write_run, tmp_path):
    folder = write_run(pred_len=6)
    _, (run,) = report(tmp_path / "results")
    assert run["curves"]["alignment"]["training"] == [[1, 2, 3], [1.0, 0.5, 0.33333]]
    sample = run["forecasts"]["samples"][0]
    arrays = load_file(folder / "forecasts.safetensors")
    np.testing.assert_allclose(sample["forecast"][1], arrays["forecast"][0, :, 1], rtol=1e-4)
    np.testing.assert_allclose(sample["truth"][0][sample["num_past"] :], arrays["target"][0, :, 0], rtol=1e-4)
    first = pd.Timestamp(sample["first_time"] + sample["num_past"] * sample["time_step"], unit="ms")
    assert first == pd.Timestamp("2018-02-20 00:00") and sample["time_step"] == 3_600_000
    test = run["tests"]["ETTh1"]
    assert len(test["per_step"]["mse"]) == 6
    assert test["per_channel"]["columns"] == ["OT", "HUFL"]


def test_calendar_months_keep_their_own_dates(write_run, tmp_path):
    folder = write_run()
    arrays = load_file(folder / "forecasts.safetensors")
    header = {"columns": '["a", "b"]', "first_dates": '["2018-02-01", "2018-03-01", "2018-04-01"]', "time_step": "MS"}
    save_file(arrays, folder / "forecasts.safetensors", metadata=header)
    _, (run,) = report(tmp_path / "results")
    sample = run["forecasts"]["samples"][0]
    times = pd.to_datetime(sample["times"], unit="ms")
    assert times[sample["num_past"]] == pd.Timestamp("2018-02-01") and set(times.day) == {1}


def test_chosen_channels_and_windows_are_the_ones_in_the_page(write_run, tmp_path):
    write_run(columns=("a", "b", "c", "OT"))
    _, (run,) = report(tmp_path / "results", "--channels", "c", "--max_windows", "2")
    assert run["forecasts"]["columns"] == ["c"] and len(run["forecasts"]["samples"]) == 2
    assert run["forecasts"]["note"] == "1 of 4 channels are in this page."
    _, (run,) = report(tmp_path / "results", "--max_channels", "2")
    assert run["forecasts"]["columns"] == ["a", "OT"]


def test_a_labelled_run_stands_below_the_paper_results_and_says_what_it_is(write_run, tmp_path):
    write_run(model="DLinear")
    write_run(model="BALM", labels=("demo data", "random LLM"))
    text, runs = report(tmp_path / "results")
    results, others = text.split("<section id='not-results'>")
    assert "DLinear" in results and "scope='colgroup'>BALM" not in results
    assert "Not paper results: demo data, random LLM" in others
    assert [run["labels"] for run in runs] == ["", "demo data, random LLM"]


def test_a_damaged_part_of_a_run_is_named_and_the_rest_is_shown(write_run, tmp_path):
    folder = write_run(alignment=True)
    (folder / "forecasts.safetensors").write_bytes(b"\x00" * 40)
    _, (run,) = report(tmp_path / "results")
    assert run["forecasts"] is None and run["alignment"]["num_rows"] == 24
    assert "forecasts" in run["problems"][0] and "damaged" in run["problems"][0]


@pytest.mark.parametrize("options", [["--max_channels", "0"], ["--compare", "BALM", "nobody"]])
def test_wrong_options_are_named_and_nothing_is_written(write_run, tmp_path, capsys, options):
    write_run()
    assert main([str(tmp_path / "results"), *options]) == 1
    assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "results" / "report.html").exists()


def test_no_readable_run_is_exit_code_1(tmp_path, capsys):
    (tmp_path / "results" / "empty").mkdir(parents=True)
    assert main([str(tmp_path / "results")]) == 1
    error = capsys.readouterr().err
    assert "empty: the folder is empty" in error and "holds no run" in error


def test_aligned_branches_have_more_similar_positive_than_negative_pairs_after_training_only(write_run):
    arrays = load_file(write_run(alignment=True) / "alignment.safetensors")
    before, after = alignment_summary(arrays)["stages"]
    assert abs(before["positive"]["mean"] - before["negative"]["mean"]) < 0.15
    assert after["positive"]["mean"] > after["negative"]["mean"] + 0.4
    assert sum(after["positive"]["counts"]) == 24 and sum(after["negative"]["counts"]) == 24 * 23
    assert np.shape(after["time_points"]) == np.shape(after["text_points"]) == (24, 2)
    medians = {row["name"]: row["middle"] for row in after["norm"]}
    assert medians["text, raw"] == pytest.approx(30 * medians["text, scaled"], rel=1e-2)


def test_both_projections_share_their_axes():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(10, 5)).astype(np.float32)
    arrays = {f"{stage}/{branch}_mean": means for stage in ("before", "after") for branch in ("time", "text_scaled")}
    before, after = alignment_summary(arrays)["stages"]
    assert before["time_points"] == after["text_points"]
    assert before["positive"]["mean"] == pytest.approx(1)
