"""A run goes on from a state that is whole and its own, or says in one line why it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exp.training.runtime import Runtime
from tests.exp.runs import flags, result, run_folder, run_here

Damage = Callable[[Path], None]
EPOCHS = 3


def stop_before_epoch(patch: pytest.MonkeyPatch, stopped: int) -> None:
    """The run is broken off at the first step of this epoch (counted from 0)."""
    original = Runtime.seed_step

    def stop(self, epoch: int, step: int) -> None:
        if (epoch, step) == (stopped, 0):
            raise KeyboardInterrupt
        original(self, epoch, step)

    patch.setattr(Runtime, "seed_step", stop)


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def clear_block(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-600:-88] = bytes(512)
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def delete(path: Path) -> None:
    path.unlink()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with `undisturbed`, a finished run, `other`, one of another seed, and `stopped`, stopped in epoch 3."""
    folder = tmp_path_factory.mktemp("states")
    assert run_here(flags(folder, output="undisturbed")) == 0
    for output, more in (("stopped", []), ("other", ["--seed", "7"])):
        with pytest.MonkeyPatch.context() as patch:
            stop_before_epoch(patch, EPOCHS - 1)
            assert run_here(flags(folder, *more, output=output)) == 130
    return folder


def stopped_run(runs: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run, which `flags(tmp_path)` goes on with."""
    shutil.copy(runs / "table.csv", tmp_path)
    shutil.copytree(runs / "stopped", tmp_path / "results")
    return run_folder(tmp_path) / "checkpoint"


def put_foreign(runs: Path) -> Damage:
    return lambda path: shutil.copy(run_folder(runs, "other") / "checkpoint" / path.name, path)  # pyright: ignore


DAMAGES = [flip_bit, clear_block, cut, delete, None]


def damage_of(kind: Damage | None, runs: Path) -> Damage:
    return put_foreign(runs) if kind is None else kind


def assert_goes_on(runs: Path, tmp_path: Path, caplog, *said: str) -> None:
    caplog.clear()
    assert run_here(flags(tmp_path)) == 0
    assert all(text in caplog.text for text in said), caplog.text
    assert result(run_folder(tmp_path)) == result(run_folder(runs, "undisturbed"))


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_last_state_that_cannot_be_used_is_named_and_the_one_before_it_is(runs, tmp_path, caplog, kind):
    checkpoints = stopped_run(runs, tmp_path)
    damage_of(kind, runs)(checkpoints / "last.safetensors")
    assert_goes_on(runs, tmp_path, caplog, "last.safetensors", "going on from the state before it")
    assert not (checkpoints / "previous.safetensors").exists()


@pytest.mark.parametrize("kind", DAMAGES)
def test_best_weights_that_cannot_be_used_are_mended_at_once_from_a_state_that_holds_them(runs, tmp_path, caplog, kind):
    damage_of(kind, runs)(stopped_run(runs, tmp_path) / "best.safetensors")
    assert_goes_on(runs, tmp_path, caplog)


def test_without_any_state_that_can_be_used_it_says_so_and_overwrite_starts_anew(runs, tmp_path, capsys):
    checkpoints = stopped_run(runs, tmp_path)
    for name in ("last.safetensors", "previous.safetensors"):
        flip_bit(checkpoints / name)
    assert run_here(flags(tmp_path)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "last.safetensors" in line and "give --overwrite to train from the beginning" in line
    assert run_here(flags(tmp_path, "--overwrite")) == 0
    assert result(run_folder(tmp_path)) == result(run_folder(runs, "undisturbed"))


def test_lost_best_weights_are_named_before_another_epoch_is_trained(tmp_path, capsys, monkeypatch):
    from exp.training.loop import TrainingLoop
    from utils.schedules import EarlyStopping

    update = EarlyStopping.update
    # The first epoch stays the best, so that neither state holds its weights.
    patched = lambda self, error, *, epoch: update(self, error if epoch == 1 else 1e9 + epoch, epoch=epoch)  # noqa: E731
    monkeypatch.setattr(EarlyStopping, "update", patched)
    with pytest.MonkeyPatch.context() as patch:
        stop_before_epoch(patch, 3)
        assert run_here(flags(tmp_path, "--train_epochs", "4")) == 130
    cut(run_folder(tmp_path) / "checkpoint" / "best.safetensors")
    trained: list[int] = []
    monkeypatch.setattr(TrainingLoop, "_train_epoch", lambda *_: trained.append(1))
    assert run_here(flags(tmp_path, "--train_epochs", "4")) == 1
    assert "the weights of epoch 1 are in no other file" in capsys.readouterr().err
    assert not trained


@pytest.mark.parametrize("kind", DAMAGES[:-1])
def test_a_finished_run_is_not_tested_or_forecast_with_damaged_weights(runs, tmp_path, capsys, kind):
    shutil.copytree(runs / "undisturbed", tmp_path / "results")
    shutil.copy(runs / "table.csv", tmp_path)
    folder = run_folder(tmp_path)
    kind(folder / "checkpoint" / "best.safetensors")
    capsys.readouterr()
    assert run_here(flags(tmp_path, "--is_training", "0")) == 1
    words = ["--checkpoint", str(folder), "--data_path", str(tmp_path / "table.csv")]
    assert run_here(["--task_name", "predict", *words, "--output", str(tmp_path / "f.csv")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 2 and all("best.safetensors" in line for line in errors)
    assert not (tmp_path / "f.csv").exists()


@pytest.mark.parametrize("name", ["best.safetensors", "intervals.safetensors"])
def test_files_of_another_run_are_not_forecast_with(runs, tmp_path, capsys, name):
    shutil.copytree(runs / "undisturbed", tmp_path / "results")
    shutil.copy(runs / "table.csv", tmp_path)
    folder = run_folder(tmp_path)
    if name == "best.safetensors":
        put_foreign(runs)(folder / "checkpoint" / name)
    else:
        from utils.intervals.conformal import Intervals

        Intervals.load(folder / "checkpoint" / name).save(folder / "checkpoint" / name, run_id="another")
    words = ["--checkpoint", str(folder), "--data_path", str(tmp_path / "table.csv"), "--interval", "0.5"]
    assert run_here(["--task_name", "predict", *words, "--output", str(tmp_path / "f.csv")]) == 2
    assert "belongs to another run" in capsys.readouterr().err
