"""What a tracker is told of a run, read back from its own files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp.command_line import parse_command
from exp.config import TrackConfig
from tests.utils.wandb_file import history_of, records_of, summary_of

ROOT = Path(__file__).parents[3]
BALM = (
    "--model BALM --data demo --seq_len 96 --pred_len 24 --llm_model random --llm_layers 1 --llm_width 48 "
    "--llm_heads 4 --d_model 8 --d_ff 16 --batch_size 8 --fast_dev_run --device cpu"
).split()


def run(folder: Path, *flags: str, **environment: str) -> str:
    """Runs run.py as a person would and returns what it said on stderr."""
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "run.py", *BALM, "--output_dir", str(folder), *flags],
        cwd=ROOT,
        env={**kept, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], str]:
    """The records of a run without an account, and what the run said."""
    folder = tmp_path_factory.mktemp("offline")
    said = run(folder, "--track", "wandb")
    files = list(folder.glob("*/wandb/offline-run-*/*.wandb"))
    assert len(files) == 1
    return records_of(files[0]), said


def test_without_an_account_wandb_goes_offline_and_says_how_to_sync(offline_run: tuple[list[Any], str]) -> None:
    assert "wandb sync" in offline_run[1]


def test_an_offline_run_holds_each_loss_term_by_name_the_rate_and_the_speed(
    offline_run: tuple[list[Any], str],
) -> None:
    names = {name for row in history_of(offline_run[0]) for name in row}
    expected = {"epoch_train/mse", "epoch_train/alignment", "epoch_train/loss", "validation/mse", "validation/mae"}
    assert expected | {"schedule/learning_rate", "schedule/rows_per_second", "epoch"} <= names


def test_an_offline_run_holds_forecast_plots(offline_run: tuple[list[Any], str]) -> None:
    plots = {name for row in history_of(offline_run[0]) for name in row if name.startswith("plots/")}
    assert {"plots/forecast_worst/path", "plots/training/path"} <= plots


def test_an_offline_run_holds_tables_of_forecasts_and_of_errors(offline_run: tuple[list[Any], str]) -> None:
    tables = {name for row in history_of(offline_run[0]) for name in row if name.startswith("tables/")}
    assert {"tables/forecasts/path", "tables/error_by_channel/path", "tables/error_by_step/path"} <= tables


def test_the_summary_holds_test_errors_and_parameter_counts(offline_run: tuple[list[Any], str]) -> None:
    summary = summary_of(offline_run[0])
    assert summary["test/mse"] > 0
    assert summary["parameters/trainable"] < summary["parameters/total"]


def test_the_run_is_grouped_and_carries_every_flag(offline_run: tuple[list[Any], str]) -> None:
    record = next(r.run for r in offline_run[0] if r.WhichOneof("record_type") == "run")
    assert record.run_group == "BALM-demo-24"
    configs = [r.config for r in offline_run[0] if r.WhichOneof("record_type") == "config"]
    flags = {item.key or "/".join(item.nested_key) for config in configs for item in config.update}
    assert {"train_config/learning_rate", "model_config/d_model", "data_config/seq_len"} <= flags


def test_epochs_are_the_axis_of_epoch_curves(offline_run: tuple[list[Any], str]) -> None:
    metrics = [r.metric for r in offline_run[0] if r.WhichOneof("record_type") == "metric"]
    by_epoch = {m.glob_name or m.name for m in metrics if m.step_metric == "epoch"}
    assert {"validation/*", "epoch_train/*", "schedule/*"} <= by_epoch


def test_without_the_flag_nothing_of_wandb_is_imported() -> None:
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from exp.command_line import parse_command\n"
        "import exp.exp_long_term_forecast, models.balm, models.calf\n"
        "parse_command(['--model', 'BALM'])\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_tracker_that_is_not_installed_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="pip install wandb"):
        TrackConfig(track="wandb")


def test_tensorboard_gets_a_folder_in_the_run_folder_with_curves_errors_plots_tables_and_flags(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said = run(tmp_path, "--track", "tensorboard")
    assert f"tensorboard --logdir {tmp_path}" in said
    (folder,) = tmp_path.glob("BALM_*/tensorboard")
    found: dict[str, set[str]] = {"scalars": set(), "images": set(), "tensors": set()}
    for file in folder.glob("events.out.tfevents.*"):
        events = EventAccumulator(str(file))
        events.Reload()
        for kind, tags in found.items():
            tags |= set(events.Tags()[kind])
    assert {"epoch_train/alignment", "validation/mse", "schedule/learning_rate", "test/mse"} <= found["scalars"]
    assert {"plots/forecast_worst", "plots/training"} <= found["images"]
    assert {"tables/forecasts/text_summary", "tables/error_by_channel/text_summary"} <= found["tensors"]
    assert list(folder.rglob("hparams.yml"))


@pytest.mark.parametrize("sweep", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sweep_chooses_by_the_validation_error_and_every_flag_of_it_exists(sweep: Path) -> None:
    settings = yaml.safe_load(sweep.read_text())
    assert settings["metric"]["name"] == "validation/mse"
    fixed = [word for word in settings["command"] if word.startswith("--")]
    for name, spread in settings["parameters"].items():
        for value in spread.get("values", [spread.get("min"), spread.get("max")]):
            parsed = parse_command([*fixed, f"--{name}={value}"])
            assert parsed.model_name == sweep.stem
