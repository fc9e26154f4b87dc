"""The door to Time-Series-Library, with a stand-in checkout whose packages have the names of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import layers.channels
import models
import run
from models import model_class
from models.base import ForecastSpec
from models.tslib import TSLib, TSLibConfig
from models.tslib.settings import frequency_letter, parse_settings
from tests.models.small_tslib import FILES, SHAPE


def build(checkout: Path, name: str = "Echo", words: str = "d_model=6", spec: ForecastSpec = SHAPE) -> TSLib:
    torch.manual_seed(0)
    chosen = model_class(f"tslib:{name}")
    assert issubclass(chosen, TSLib)
    return chosen.build(TSLibConfig(tslib_path=str(checkout), tslib_args=words), spec)


def modules_called(*packages: str) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}


def theirs(model: TSLib) -> Any:
    """The model of the checkout, of whose class nothing is known here."""
    return model.model


def batch(features: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 2, generator=generator), torch.randn(2, 11, features, generator=generator)


def test_a_model_of_the_checkout_gets_marks_and_decoder_input_as_that_library_gives_them(checkout):
    model, (look_back, marks) = build(checkout, words="d_model=6 label_len=5"), batch()
    forecast = model(look_back, time_features=marks).values
    x_enc, x_mark_enc, x_dec, x_mark_dec = theirs(model).seen
    assert torch.equal(x_enc, look_back)
    assert torch.equal(x_mark_enc, marks[:, :8])
    assert torch.equal(x_dec, torch.cat([look_back[:, 3:], torch.zeros(2, 3, 2)], dim=1))
    assert torch.equal(x_mark_dec, marks[:, 3:])
    assert forecast.shape == (2, 3, 2)


def test_the_settings_are_the_task_and_what_was_given(checkout):
    model = build(checkout, words="d_model=6")
    assert model.needs_time_features
    assert not model.channel_independent
    assert theirs(model).widen.weight.shape == (6, 4)
    assert theirs(model).out.weight.shape == (2, 6)
    assert theirs(model).task_name == "long_term_forecast"
    assert model.label_len == 8  # that library's 48 does not fit into a look-back of 8


def test_neither_our_modules_nor_the_path_change(checkout):
    path = list(sys.path)
    ours = modules_called("layers", "models", "utils")
    model, (look_back, marks) = build(checkout), batch()
    model(look_back, time_features=marks)
    assert sys.path == path
    assert modules_called("layers", "models", "utils") == ours
    assert not hasattr(layers.channels, "THEIRS")
    assert Path(models.__file__).parent.parent == Path(__file__).parents[2]


def test_an_import_that_runs_only_in_forward_is_the_checkouts(checkout):
    model, (look_back, marks) = build(checkout), batch()
    model(look_back, time_features=marks)
    (late,) = [m for name, m in sys.modules.items() if name.endswith(".layers.late") and str(checkout) in str(m)]
    assert late.SCALE == 2.0


def test_nothing_is_written_into_the_checkout(checkout):
    before = sorted(checkout.rglob("*"))
    build(checkout)
    assert sorted(checkout.rglob("*")) == before


def test_two_checkouts_do_not_share_modules(checkout, tmp_path):
    other = tmp_path / "other"
    for name, text in FILES.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text.replace("WIDTH = 4", "WIDTH = 3"))
    assert theirs(build(checkout)).embedding.weight.shape == (4, 2)
    assert theirs(build(other)).embedding.weight.shape == (3, 2)


def test_what_is_saved_restores_the_forecast(checkout):
    model, other, (look_back, marks) = build(checkout), build(checkout), batch()
    with torch.no_grad():
        theirs(model).out.weight.add_(1)
    other.load_saved_state(model.saved_state())
    assert torch.equal(model(look_back, time_features=marks).values, other(look_back, time_features=marks).values)


def test_the_file_of_the_model_is_part_of_its_fingerprint(checkout):
    before = build(checkout).fingerprint()
    assert before["tslib_model"] == "Echo"
    with (checkout / "models" / "Echo.py").open("a") as file:
        file.write("# changed\n")
    assert build(checkout).fingerprint()["sha256"] != before["sha256"]


def test_a_model_that_keeps_its_settings_may_read_them_later(checkout):
    model, (look_back, marks) = build(checkout, "Keeps", "gain=3.0"), batch()
    assert model(look_back, time_features=marks).values.shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("Echo", "d_modle=6", "--tslib_args d_modle: tslib:Echo never reads it"),
        ("Echo", "seq_len=9", "--tslib_args must leave seq_len out"),
        ("Echo", "label_len=9", r"label_len must be in 0..--seq_len \(8\), got 9"),
        ("Echo", "d_model", "--tslib_args must be pairs such as"),
        ("Wants", "", "--model tslib:Wants reads unheard_of"),
        ("Refuses", "", "cannot be built from --tslib_args and sizes: Encoder and decoder layers must be equal"),
        ("Needs", "", "No module named 'a_package_that_nobody_has'"),
        ("Empty", "", "defines no torch module called Model"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(checkout, name, words, message):
    with pytest.raises(ValueError, match=message) as refusal:
        build(checkout, name, words)
    assert "\n" not in str(refusal.value)


def test_a_missing_model_file_names_the_nearest(checkout):
    with pytest.raises(FileNotFoundError, match=r"models/Ecko\.py, which is missing: choose one of Echo"):
        build(checkout, "Ecko")


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a checkout of Time-Series-Library"):
        build(tmp_path / "nowhere")


def test_the_path_is_needed():
    with pytest.raises(ValueError, match="--model tslib:Echo needs --tslib_path"):
        model_class("tslib:Echo").build(TSLibConfig(), SHAPE)


def test_a_name_that_is_no_file_name_is_refused():
    with pytest.raises(ValueError, match="must name a file of models/"):
        model_class("tslib:../Echo")


def test_values_are_python_literals_or_text():
    words = "d_model=64 distil=False dims=[1,2] embed=timeF rate=1e-3 method='a b'"
    expected = {"d_model": 64, "distil": False, "dims": [1, 2], "embed": "timeF", "rate": 1e-3, "method": "a b"}
    assert parse_settings(words.replace("'a b'", "\"'a b'\"")) == expected


@pytest.mark.parametrize(
    ("time_step", "letter"),
    [("h", "h"), ("15min", "t"), ("10min", "t"), ("D", "d"), ("7D", "w"), ("W-TUE", "w"), ("MS", "m"), ("30s", "s")],
)
def test_every_step_has_that_librarys_letter(time_step, letter):
    assert frequency_letter(time_step) == letter


@pytest.mark.parametrize(("time_step", "features"), [("15min", 5), ("D", 3), ("h", 4)])
def test_the_data_providers_calendar_features_fit_that_librarys_embedding(checkout, time_step, features):
    from data_provider.time_features import feature_names

    assert len(feature_names(time_step)) == features
    sizes = ForecastSpec(seq_len=8, pred_len=3, num_channels=2, time_step=time_step, num_time_features=features)
    model = build(checkout, spec=sizes)
    look_back, marks = batch(features)
    assert model(look_back, time_features=marks).values.shape == (2, 3, 2)


def test_a_run_of_such_a_model_is_recorded_like_any_other(checkout, tmp_path):
    results = tmp_path / "results"
    words = ["--tslib_path", str(checkout), "--tslib_args", "d_model=6 label_len=4"]
    sizes = ["--seq_len", "24", "--pred_len", "6", "--batch_size", "256", "--train_epochs", "1"]
    assert run.main(["--model", "tslib:Echo", *words, "--data", "demo", *sizes, "--output_dir", str(results)]) == 0
    (metrics_file,) = results.glob("*/metrics.json")
    metrics = json.loads(metrics_file.read_text())
    assert metrics["model"] == "tslib:Echo"
    assert metrics["parameters"]["trainable"] == 7 * 4 + 4 + 4 * 4 + 4 + 4 * 6 + 6 + 6 * 7 + 7
    assert (metrics_file.parent / "checkpoint" / "best.safetensors").exists()
    config = json.loads((metrics_file.parent / "config.json").read_text())
    assert config["backbone_fingerprint"]["tslib_model"] == "Echo"


def test_a_wrong_path_ends_with_one_line_and_exit_code_two(tmp_path, capsys):
    words = [
        "--model",
        "tslib:Echo",
        "--tslib_path",
        str(tmp_path),
        "--data",
        "demo",
        "--output_dir",
        str(tmp_path / "r"),
    ]
    assert run.main(words) == 2
    assert "must be a checkout of Time-Series-Library" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
