"""What one run promises: the same numbers each time, numbers that do not depend on batches, and a stop at bad ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from exp.training.runtime import Runtime
from layers import instance_norm
from models.dlinear import DLinear
from tests.exp.runs import NOT_THE_RESULT, flags, result, run_folder, run_here
from utils import losses
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.metrics import MSE


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Each run has its own precision, as each process would."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.use_deterministic_algorithms(False)


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize("model", ["DLinear", "BALM"])
def test_the_same_seed_gives_the_same_run_to_the_last_digit(tmp_path, model):
    for output in ("first", "second"):
        assert run_here(flags(tmp_path, "--train_epochs", "2", model=model, output=output)) == 0
    assert result(run_folder(tmp_path, "first")) == result(run_folder(tmp_path, "second"))


def test_another_seed_gives_another_run(tmp_path):
    for seed in ("1", "2"):
        assert run_here(flags(tmp_path, "--train_epochs", "1", "--seed", seed, output=seed)) == 0
    first, second = (result(run_folder(tmp_path, seed)) for seed in ("1", "2"))
    assert first["weights"] != second["weights"]


@pytest.mark.parametrize("model", ["DLinear", "BALM"])
def test_errors_do_not_depend_on_the_evaluation_batch(tmp_path, model):
    command = flags(tmp_path, "--train_epochs", "1", model=model)
    assert run_here(command) == 0
    found = {}
    for size in (1, 7, 64):
        again = flags(tmp_path, "--train_epochs", "1", "--eval_batch_size", str(size), "--overwrite", model=model)
        assert run_here(again) == 0
        metrics = metrics_of(run_folder(tmp_path))
        (test,) = metrics["tests"].values()
        found[size] = [metrics["validation"]["mse"], test["mse"], test["mae_original"]]
    assert found[1] == pytest.approx(found[64], rel=1e-6)
    assert found[7] == pytest.approx(found[64], rel=1e-6)


def test_deterministic_runs_use_only_deterministic_algorithms(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert run_here(flags(tmp_path, "--fast_dev_run", "--deterministic")) == 0
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    AcceleratorState._reset_state(reset_partial_state=True)
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_trial_run_is_one_epoch_of_two_batches(tmp_path):
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    metrics = metrics_of(run_folder(tmp_path))
    assert (metrics["epochs"], metrics["steps"]) == (1, 2)
    assert metrics["labels"] == ["fast_dev_run"]


def break_loss(monkeypatch, value: float) -> None:
    monkeypatch.setitem(losses.LOSSES, "mse", lambda forecast, target: (forecast - target).square().mean() * value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_with_all_that_is_known(tmp_path, monkeypatch, capsys, value):
    assert run_here(flags(tmp_path, "--train_epochs", "1", output="good")) == 0
    break_loss(monkeypatch, value)
    assert run_here(flags(tmp_path, "--learning_rate", "0.02")) == 1
    said = capsys.readouterr().err
    for part in ("epoch 1, step 1", "term mse, learning rate 0.02", "rows [", "lower --learning_rate"):
        assert part in said
    assert "Traceback" not in said
    assert not list((tmp_path / "results").rglob("*.safetensors"))


def test_a_model_that_breaks_later_leaves_the_last_good_state(tmp_path, monkeypatch, capsys):
    original, calls = DLinear.forward, [0]

    def forward(self, look_back):
        forecast = original(self, look_back)
        if self.training:
            calls[0] += 1
        return forecast if calls[0] <= 9 else type(forecast)(forecast.values * float("nan"))

    monkeypatch.setattr(DLinear, "forward", forward)
    command = flags(tmp_path)
    assert run_here(command) == 1
    assert "epoch 2, step 3" in capsys.readouterr().err
    monkeypatch.setattr(DLinear, "forward", original)
    assert run_here(command) == 0
    assert run_here(flags(tmp_path, output="undisturbed")) == 0
    assert result(run_folder(tmp_path)) == result(run_folder(tmp_path, "undisturbed"))


def test_weights_that_broke_under_a_finite_loss_are_never_saved(tmp_path, monkeypatch, capsys):
    def poison(self, *arguments, **options):  # noqa: ARG001
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("nan"))

    monkeypatch.setattr(torch.optim.Adam, "step", poison)
    assert run_here(flags(tmp_path, "--checkpoint_steps", "1", "--train_epochs", "1")) == 1
    assert "is no longer finite although the loss was" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("*.safetensors"))


def test_a_validation_error_that_is_no_number_ends_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(MSE, "values", lambda _: {"mse": float("nan")})
    assert run_here(flags(tmp_path)) == 1
    assert "the validation mse of epoch 1 is not a finite number" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["DLinear", "BALM"])
def test_bfloat16_never_enters_statistics_losses_or_metrics(tmp_path, monkeypatch, model):
    seen: dict[str, set[torch.dtype]] = {"loss": set(), "forecast": set(), "sums": set(), "statistics": set()}
    criterion, update, of = losses.LOSSES["mse"], MSE.update, instance_norm.InstanceStatistics.of.__func__

    def loss(forecast, target):
        seen["loss"] |= {forecast.dtype, target.dtype, (value := criterion(forecast, target)).dtype}
        return value

    def note_update(self, batch):
        seen["forecast"] |= {batch.forecast.dtype, batch.target.dtype}
        seen["sums"] |= {self.sums.dtype, self.window_sums.dtype}
        update(self, batch)

    def note_statistics(cls, *arguments, **options):
        statistics = of(cls, *arguments, **options)
        seen["statistics"] |= {statistics.mean.dtype, statistics.deviation.dtype}
        return statistics

    monkeypatch.setitem(losses.LOSSES, "mse", loss)
    monkeypatch.setattr(MSE, "update", note_update)
    monkeypatch.setattr(instance_norm.InstanceStatistics, "of", classmethod(note_statistics))
    assert run_here(flags(tmp_path, "--fast_dev_run", "--precision", "bf16", model=model)) == 0
    assert seen["loss"] == seen["forecast"] == {torch.float32}
    assert seen["sums"] == {torch.float64}
    assert seen["statistics"] <= {torch.float32, torch.float64}
    assert bool(seen["statistics"]) == (model == "BALM")


def fail_at(monkeypatch, name: str) -> None:
    """The disk is full from the first file of this name on."""
    original = os.fsync

    def fsync(handle: int) -> None:
        if name in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(28, "No space left on device")
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("name", ["config.json", "last.safetensors", "history.jsonl", "metrics.json"])
def test_a_full_disk_ends_the_run_in_one_line_and_the_same_command_goes_on_later(tmp_path, capsys, name):
    command = flags(tmp_path, "--train_epochs", "2")
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, name)
        assert run_here(command) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{name} cannot be written (No space left on device)" in said
    assert run_here(command) == 0
    assert run_here(flags(tmp_path, "--train_epochs", "2", output="undisturbed")) == 0
    assert result(run_folder(tmp_path)) == result(run_folder(tmp_path, "undisturbed"))


def test_a_run_folder_that_is_removed_meanwhile_is_an_error_and_not_made_again(tmp_path, monkeypatch, capsys):
    original = Runtime.seed_step

    def remove(self, epoch: int, step: int) -> None:
        if (epoch, step) == (1, 0):
            run_folder(tmp_path).rename(tmp_path / "moved")
        original(self, epoch, step)

    monkeypatch.setattr(Runtime, "seed_step", remove)
    assert run_here(flags(tmp_path)) == 1
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err
    assert list((tmp_path / "results").iterdir()) == []
    assert len((tmp_path / "moved" / "history.jsonl").read_text().splitlines()) == 1


def stopped_after_first_epoch(tmp_path: Path, monkeypatch) -> list[str]:
    """The command of a run that was broken off in its second epoch."""
    original = Runtime.seed_step

    def stop(self, epoch: int, step: int) -> None:
        if (epoch, step) == (1, 0):
            raise KeyboardInterrupt
        original(self, epoch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "seed_step", stop)
        assert run_here(flags(tmp_path)) == 130
    return flags(tmp_path)


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    stopped_after_first_epoch(tmp_path, monkeypatch)
    assert "the same command goes on" in capsys.readouterr().err


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def damage_shape(path: Path) -> None:
    tensors, header = load_checkpoint(path)
    save_checkpoint(path, tensors | {"model/trend.weight": torch.ones(2, 2)}, header)


def damage_names(path: Path) -> None:
    tensors, header = load_checkpoint(path)
    save_checkpoint(path, tensors | {"model/other": torch.ones(2)}, header)


def damage_progress(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'\\"epoch\\": 1,', b'\\"epoch\\": 7,'))


def damage_header(path: Path) -> None:
    save_checkpoint(path, load_checkpoint(path)[0], {})


@pytest.mark.parametrize("damage", [damage_bytes, damage_shape, damage_names, damage_progress, damage_header])
def test_a_damaged_checkpoint_is_named_and_not_continued_from(tmp_path, monkeypatch, capsys, damage):
    command = stopped_after_first_epoch(tmp_path, monkeypatch)
    damage(run_folder(tmp_path) / "checkpoint" / "last.safetensors")
    assert run_here(command) == 1
    said = capsys.readouterr().err
    assert "last.safetensors" in said
    assert "damaged" in said
    assert "Traceback" not in said


def test_a_damaged_best_checkpoint_is_named_when_it_is_tested_again(tmp_path, capsys):
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    damage_shape(run_folder(tmp_path) / "checkpoint" / "best.safetensors")
    assert run_here(flags(tmp_path, "--fast_dev_run", "--is_training", "0")) == 1
    assert "best.safetensors" in capsys.readouterr().err


def test_testing_again_finds_the_same_errors(tmp_path, capsys):
    assert run_here(flags(tmp_path, "--train_epochs", "1")) == 0
    first = capsys.readouterr().out
    assert run_here(flags(tmp_path, "--train_epochs", "1", "--is_training", "0")) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "DLinear " in line] == [
        line for line in first.splitlines() if "DLinear " in line
    ]


def test_what_is_compared_between_runs_leaves_out_only_times_and_memory(tmp_path):
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    assert set(NOT_THE_RESULT) < set(metrics_of(run_folder(tmp_path)))
