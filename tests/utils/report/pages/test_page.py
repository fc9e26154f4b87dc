"""The HTML page about all runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from safetensors.numpy import load_file, save_file

from utils.report.__main__ import main
from utils.report.pages.alignment import alignment_summary

HOSTILE = "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """Every tag with its attributes, and the text in each, with the number of the run that it belongs to."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str, int]] = []
        self.run = -1
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.run += tag == "article"

    def handle_data(self, data):
        if self.tags and data.strip():
            tag, attributes = self.tags[-1]
            self.texts.append((attributes.get("type") or tag, data, self.run))

    def of(self, kind: str) -> list[str]:
        """The texts in a kind of element; scripts that run are "script", others are called by their type."""
        return [text for at, text, _ in self.texts if at == kind]

    def policy(self) -> dict[str, list[str]]:
        (content,) = (a["content"] or "" for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")
        return {name: values for name, *values in map(str.split, content.split(";"))}

    def figures(self, run: int = 0) -> dict[str, Any]:
        """Caption -> figure of a run; the forecasts are a list, [window][channel]."""
        found, caption = {}, "forecasts"
        for kind, text, number in self.texts:
            if number == run and kind == "figcaption":
                caption = text
            if number == run and kind == "application/json":
                found[caption] = json.loads(text)
        return found


def report(root: Path, *options: str) -> tuple[str, Page]:
    assert main([str(root), *options]) == 0
    text = (root / "report.html").read_text()
    return text, Page(text)


def traces(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure["data"]}


def values(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in strings(item)] if isinstance(value, list) else [str(value)]


def test_the_page_loads_nothing_from_anywhere(write_run, tmp_path):
    write_run(alignment=True)
    text, page = report(tmp_path / "results")
    assert not re.findall(r"https?://", text.replace(get_plotlyjs(), ""))
    for _, attributes in page.tags:
        assert not attributes.keys() & {"src", "onload", "onclick"}
        assert (attributes.get("href") or "#").startswith("#")
    assert page.policy()["default-src"] == ["'none'"]


def test_only_the_scripts_of_the_page_itself_may_run(write_run, tmp_path):
    write_run()
    _, page = report(tmp_path / "results")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.of("script")]
    assert page.policy()["script-src"] == [f"'sha256-{value}'" for value in hashes] and len(hashes) == 2


def test_a_name_from_a_file_is_only_ever_text(write_run, tmp_path):
    model = "A<img src=x onerror=alert(2)>"
    write_run(model=model, columns=(HOSTILE, "<b>OT"), labels=("<i>",))
    text, page = report(tmp_path / "results")
    text = text.replace(get_plotlyjs(), "")
    assert HOSTILE not in text and "<img" not in text and "<b>OT" not in text and "<i>" not in text
    assert len(page.of("script")) == 2
    assert page.of("option")[1:3] == [HOSTILE, "<b>OT"]


def test_plotly_reads_no_markup_in_a_name_from_a_file(write_run, tmp_path):
    write_run(model="A<a href='x'>", columns=("<b>OT", "R&amp;D"))
    _, page = report(tmp_path / "results")
    figures = page.figures()
    assert not [text for text in strings(figures) if "<" in text]
    (bars,) = figures["MSE by channel, scaled units"]["data"]
    assert set(bars["hovertext"]) == {"&lt;b&gt;OT", "R&amp;amp;D"}
    assert list(traces(figures["MSE by horizon step, scaled units"])) == ["A&lt;a href='x'&gt;"]


def test_a_page_of_three_long_runs_stays_below_six_megabytes(write_run, tmp_path):
    for seed in (1, 2, 3):
        columns = tuple("abcdefgh")
        write_run(seed=seed, pred_len=720, columns=columns, alignment=True, interval_levels=(0.9,))
    text, _ = report(tmp_path / "results")
    assert len(text.encode()) < 6e6


def test_a_run_is_shown_with_curves_forecasts_in_original_units_and_errors_by_step_and_channel(write_run, tmp_path):
    folder = write_run(pred_len=6)
    _, page = report(tmp_path / "results")
    figures = page.figures()
    curve = traces(figures["alignment"])["training"]
    assert curve["x"] == [1, 2, 3]
    np.testing.assert_allclose(values(curve["y"]), [1, 1 / 2, 1 / 3], rtol=1e-6)
    arrays = load_file(folder / "forecasts.safetensors")
    hufl, target = figures["forecasts"][0]
    np.testing.assert_array_equal(values(traces(target)["forecast"]["y"]), arrays["forecast"][0, :, 1])
    np.testing.assert_array_equal(values(traces(hufl)["truth"]["y"])[1:], arrays["target"][0, :, 0])
    assert traces(hufl)["forecast"]["x0"] == "2018-02-20T00:00:00" and traces(hufl)["forecast"]["dx"] == 3_600_000
    assert len(values(traces(figures["MSE by horizon step, scaled units"])["BALM"]["y"])) == 6
    assert figures["MSE by channel, scaled units"]["layout"]["yaxis"]["ticktext"] == ["OT", "HUFL"]


def test_every_measure_of_a_test_is_shown(write_run, tmp_path):
    folder = write_run()
    metrics = json.loads((folder / "metrics.json").read_text())
    test = metrics["tests"]["ETTh1"]
    test |= {"measures": ["mse", "mae", "crps"], "crps": 0.1234}
    test["per_step"]["crps"], test["per_channel"]["crps"] = [0.1] * 4, [0.1, 0.2]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text, page = report(tmp_path / "results")
    assert "test MSE / MAE / CRPS, ETTh1" in page.of("dt") and "0.4000 / 0.3600 / 0.1234" in text
    assert {"CRPS by horizon step, scaled units", "CRPS by channel, scaled units"} <= page.figures().keys()


def test_models_of_the_same_cell_and_seed_are_compared_by_step(write_run, tmp_path):
    write_run(model="BALM", seed=1, mse=0.5)
    write_run(model="DLinear", seed=2, mse=0.9)
    write_run(model="DLinear", seed=1, mse=0.7)
    write_run(model="FITS", seed=1, pred_len=6)
    _, page = report(tmp_path / "results")
    by_step = traces(page.figures()["MSE by horizon step, scaled units"])
    assert {name: values(trace["y"])[0] for name, trace in by_step.items()} == {
        "BALM": pytest.approx(0.7 * 0.5),
        "DLinear": pytest.approx(0.7 * 0.7),
    }


def test_the_widest_interval_up_to_90_percent_is_drawn_in_original_units(write_run, tmp_path):
    write_run(interval_levels=(0.5, 0.8, 0.9, 0.95))
    _, page = report(tmp_path / "results")
    lower, upper, *_, forecast = page.figures()["forecasts"][0][1]["data"]
    assert lower["name"] == upper["name"] == "90 % prediction interval" and forecast["name"] == "forecast"
    # The scale of the second channel is 3.
    np.testing.assert_allclose(values(lower["y"]), values(forecast["y"]) - 0.9 * 3, rtol=1e-5)
    np.testing.assert_allclose(values(upper["y"]), values(forecast["y"]) + 0.9 * 3, rtol=1e-5)


def test_no_interval_is_drawn_where_the_run_kept_none_or_had_too_few_errors(write_run, tmp_path):
    write_run(seed=1)
    write_run(seed=2, interval_levels=(0.95,))
    text, page = report(tmp_path / "results")
    assert "prediction interval" not in text.replace(get_plotlyjs(), "")
    assert set(traces(page.figures()["forecasts"][0][0])) == {"look-back window", "truth", "forecast"}


def test_calendar_months_keep_their_own_dates(write_run, tmp_path):
    folder = write_run()
    arrays = load_file(folder / "forecasts.safetensors")
    header = {"columns": '["a", "b"]', "first_dates": '["2018-02-01", "2018-03-01", "2018-04-01"]', "time_step": "MS"}
    save_file(arrays, folder / "forecasts.safetensors", metadata=header)
    _, page = report(tmp_path / "results")
    times = pd.to_datetime(traces(page.figures()["forecasts"][0][0])["forecast"]["x"])
    assert times[0] == pd.Timestamp("2018-02-01") and set(times.day) == {1}


def test_chosen_channels_and_windows_are_the_ones_in_the_page(write_run, tmp_path):
    write_run(columns=("a", "b", "c", "OT"))
    text, page = report(tmp_path / "results", "--channels", "c", "--max_windows", "2")
    assert page.of("option")[1:] == ["c", "2018-02-20 00:00", "2018-04-21 00:00"]
    assert np.shape(page.figures()["forecasts"]) == (2, 1)
    assert "1 of 4 channels are in this page." in text
    _, page = report(tmp_path / "results", "--max_channels", "2")
    assert page.of("option")[1:3] == ["a", "OT"]


def test_a_labelled_run_stands_below_the_paper_results_and_says_what_it_is(write_run, tmp_path):
    write_run(model="DLinear")
    write_run(model="BALM", labels=("demo data", "random LLM"))
    text, _ = report(tmp_path / "results")
    text = text.replace(get_plotlyjs(), "")
    results, others = text.split('<section id="not-results">')
    assert "DLinear" in results and 'scope="colgroup">BALM' not in results
    assert "Not paper results: demo data, random LLM" in others
    dlinear, balm = text.split('<article class="run"')[1:]
    assert "Not a paper result" not in dlinear and "Not a paper result: demo data, random LLM" in balm


def test_a_damaged_part_of_a_run_is_named_and_the_rest_is_shown(write_run, tmp_path):
    folder = write_run(alignment=True)
    (folder / "forecasts.safetensors").write_bytes(b"\x00" * 40)
    text, page = report(tmp_path / "results")
    assert "Projection, after training" in text and "forecasts" not in page.figures()
    assert re.search("Not shown: forecasts .*damaged", text)


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
    summary = alignment_summary(arrays)
    means = {
        stage: {kind: found[kind][1] for kind in ("positive", "negative")} for stage, found in summary["stages"].items()
    }
    assert abs(means["before"]["positive"] - means["before"]["negative"]) < 0.15
    assert means["after"]["positive"] > means["after"]["negative"] + 0.4
    after = summary["stages"]["after"]
    assert after["positive"][0].sum() == 24 and after["negative"][0].sum() == 24 * 23
    assert after["time_points"].shape == after["text_points"].shape == (24, 2)
    medians = {name: middle for name, _, _, middle, _ in summary["quartiles"]["norm"]}
    assert medians["text, raw, after"] == pytest.approx(30 * medians["text, scaled, after"], rel=1e-2)


def test_both_projections_share_their_axes():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(10, 5)).astype(np.float32)
    arrays = {f"{stage}/{branch}_mean": means for stage in ("before", "after") for branch in ("time", "text_scaled")}
    stages = alignment_summary(arrays)["stages"]
    np.testing.assert_array_equal(stages["before"]["time_points"], stages["after"]["text_points"])
    assert stages["before"]["positive"][1] == pytest.approx(1)


def test_a_run_whose_parts_are_odd_is_shown_with_what_is_wrong_and_the_others_whole(write_run, tmp_path):
    write_run(seed=1)
    folder = write_run(seed=2, alignment=True)
    arrays = load_file(folder / "alignment.safetensors")
    arrays["before/time_norm"][0] = np.inf
    save_file(arrays, folder / "alignment.safetensors")
    channels = {"columns": ["HUFL", "OT"]}
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["tests"]["ETTh1"]["per_channel"] = channels
    (folder / "metrics.json").write_text(json.dumps(metrics))
    dated = write_run(seed=3)
    header = {"columns": json.dumps(["HUFL", "OT"]), "first_dates": json.dumps(["-5"] * 3), "time_step": "h"}
    save_file(load_file(dated / "forecasts.safetensors"), dated / "forecasts.safetensors", metadata=header)
    text, page = report(tmp_path / "results")
    assert "before/time_norm has values that are not finite" in text
    assert "invalid isoformat string" in text
    assert page.figures(0)
