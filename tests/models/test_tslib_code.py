"""Which files of a checkout are run: those of the training, and only from where the command says."""

from __future__ import annotations

import importlib.machinery
import py_compile
from pathlib import Path

import pytest

import run
from models import model_class
from models.tslib import TSLibConfig
from models.tslib.code import check_code, code_hashes
from tests.models.small_tslib import SHAPE


def trained(checkout: Path, tmp_path: Path) -> Path:
    """The folder of a short run of Echo."""
    words = ["--tslib_path", str(checkout), "--tslib_args", "d_model=6 label_len=4", "--fast_dev_run"]
    sizes = ["--seq_len", "24", "--pred_len", "6", "--output_dir", str(tmp_path / "results")]
    assert run.main(["--model", "tslib:Echo", *words, "--data", "demo", *sizes]) == 0
    (folder,) = (tmp_path / "results").iterdir()
    return folder


def forecast_with(folder: Path, output: Path, *more: str) -> int:
    table = str(Path(__file__).parents[2] / "dataset" / "demo" / "demo.csv")
    words = ["--checkpoint", str(folder), "--data_path", table, "--output", str(output), *more]
    return run.main(["--task_name", "predict", *words])


def test_every_file_that_a_model_imports_is_hashed_those_inside_functions_too(checkout):
    found = code_hashes(checkout, "Echo")
    expected = {"models/Echo.py", "models/Part.py", "layers/Embed.py", "layers/channels.py", "layers/late.py"}
    assert expected | {"utils/masking.py"} == {path for path in found if not path.endswith("__init__.py")}


def test_a_checkpoint_never_says_which_code_is_run(checkout, tmp_path, capsys):
    folder, output = trained(checkout, tmp_path), tmp_path / "forecast.csv"
    (checkout / "models" / "Echo.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert forecast_with(folder, output) == 2
    assert "give --tslib_path, the checkout that you trust" in capsys.readouterr().err
    assert forecast_with(folder, output, "--tslib_path", str(checkout)) == 2
    assert "models/Echo.py has SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and not output.exists()


@pytest.mark.parametrize("changed", ["layers/late.py", "utils/masking.py"])
def test_code_other_than_that_of_the_training_is_refused(checkout, tmp_path, capsys, changed):
    folder, output = trained(checkout, tmp_path), tmp_path / "forecast.csv"
    assert forecast_with(folder, output, "--tslib_path", str(checkout)) == 0
    original = (checkout / changed).read_text()
    (checkout / changed).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{original}")
    assert forecast_with(folder, output, "--tslib_path", str(checkout)) == 2
    error = capsys.readouterr().err
    assert changed in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "ran").exists()


def test_a_file_that_was_not_recorded_is_not_run(checkout):
    recorded = code_hashes(checkout, "Echo")
    del recorded["layers/late.py"]
    config = TSLibConfig(tslib_path=str(checkout), tslib_args="d_model=6 label_len=4")
    with pytest.raises(ValueError, match=r"late\.py is not a file that was recorded"):
        model_class("tslib:Echo").restore(config, SHAPE, code=recorded)


@pytest.mark.parametrize(
    "name", ["/proc/kmsg", "../outside.py", "/etc/passwd.py", "layers/../../outside.py", "a\0b.py"]
)
def test_what_lies_outside_the_checkout_is_not_opened(checkout, name, monkeypatch):
    (checkout.parent / "outside.py").write_text("")
    recorded = {name: "0" * 64}
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))
    with pytest.raises(ValueError, match="is missing"):
        check_code(checkout, recorded, name="Echo")


@pytest.mark.parametrize("suffix", [".pyc", importlib.machinery.EXTENSION_SUFFIXES[0]])
def test_what_is_no_source_file_was_not_recorded_and_is_not_run(checkout, tmp_path, suffix):
    recorded = code_hashes(checkout, "Echo")
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    planted = checkout / "layers" / f"late{suffix}"
    if suffix == ".pyc":
        (checkout / "layers" / "late.py").unlink()
        del recorded["layers/late.py"]
        py_compile.compile(str(evil), cfile=str(planted))
    else:
        # It is found before late.py.
        planted.write_bytes(b"a library")
    config = TSLibConfig(tslib_path=str(checkout), tslib_args="d_model=6 label_len=4")
    with pytest.raises(ValueError, match="is no source file"):
        model_class("tslib:Echo").restore(config, SHAPE, code=recorded)
    assert not (tmp_path / "ran").exists()
