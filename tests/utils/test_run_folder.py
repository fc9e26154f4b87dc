"""The name and the files of a run folder: nothing leaves it, nothing in it is secret, and one run has it."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from tests.exp.runs import flags, run_folder, run_here
from utils.files import CannotWrite, locked
from utils.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match=r"--output_dir .*/file cannot be written to .*choose another folder"):
        RunFolder(tmp_path / "file" / "run").create()


def written(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    for path in (folder.metrics, folder.last, folder.best, folder.history, folder.best.parent / ".last.1.part"):
        path.write_text("{}")
    return folder


def test_an_unfinished_run_is_continued_even_with_overwrite(tmp_path):
    """Else a killed `--overwrite` run would begin again at each start."""
    folder = written(tmp_path)
    folder.metrics.unlink()
    folder.prepare(starts_anew=True)
    assert folder.last.exists()
    assert not (folder.best.parent / ".last.1.part").exists()


def test_the_metrics_are_removed_last(tmp_path, monkeypatch):
    folder = written(tmp_path)
    unlinked: list[str] = []
    original = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        unlinked.append(path.name)
        original(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    folder.prepare(starts_anew=True)
    assert unlinked[-1] == "metrics.json"
    assert not any(path.exists() for path in (folder.metrics, folder.last, folder.best, folder.history))


def test_a_second_run_on_the_same_id_is_refused_while_the_first_one_runs(tmp_path, capsys):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    with locked(RunFolder(run_folder(tmp_path)).lock):
        assert run_here([*command, "--overwrite"]) == 1
    said = capsys.readouterr().err
    assert "is in use by process" in said
    assert (run_folder(tmp_path) / "metrics.json").exists()


def test_a_finished_run_is_kept_unless_it_is_said(tmp_path, capsys):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    before = (run_folder(tmp_path) / "metrics.json").read_bytes()
    assert run_here(command) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert (run_folder(tmp_path) / "metrics.json").read_bytes() == before
    assert run_here([*command, "--overwrite"]) == 0
    assert (run_folder(tmp_path) / "metrics.json").read_bytes() != before


def test_no_secret_of_the_environment_is_written(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "s3cr3t-value")
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 0
    for path in run_folder(tmp_path).rglob("*"):
        assert path.is_dir() or b"s3cr3t-value" not in path.read_bytes(), path
    assert "git_revision" in json.loads((run_folder(tmp_path) / "config.json").read_text())


def sources() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if not {"tests", ".venv", "venv"} & set(path.relative_to(ROOT).parts)]


def test_nothing_is_ever_unpickled():
    """Neither by name nor through a library that unpickles by default."""
    forbidden = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    calls = {
        ("torch", "load"),
        ("torch", "save"),
        ("np", "load"),
        ("pd", "read_pickle"),
        ("distributed", "all_gather_object"),
    }
    assert sources()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & forbidden, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in calls, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), path


def test_models_of_a_hub_bring_no_code_and_no_pickle():
    loads = 0
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "from_pretrained"
            ):
                given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords
                         if isinstance(keyword.value, ast.Constant)}  # fmt: skip
                assert given["trust_remote_code"] is False, path
                # A .gguf file holds no pickle; configs and tokenizers hold no weights.
                reads_gguf = any(keyword.arg == "gguf_file" for keyword in node.keywords)
                if not reads_gguf and not ast.unparse(node.func).startswith("AutoTokenizer"):
                    assert given["use_safetensors"] is True, path
                loads += 1
    assert loads


@pytest.mark.parametrize("name", ["plots", "checkpoint", "tensorboard", "wandb"])
def test_a_linked_folder_inside_a_run_folder_is_refused(tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(CannotWrite, match="is a link, and links are not followed"):
        RunFolder(tmp_path / "run").create()


def test_no_link_is_touched_to_see_whether_a_folder_can_be_written(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".writable.{os.getpid()}.part").symlink_to(tmp_path / "outside")
    RunFolder(tmp_path / "run").create()
    assert not (tmp_path / "outside").exists()


def test_halves_of_files_behind_a_link_are_not_swept(tmp_path, capsys):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    plots = run_folder(tmp_path) / "plots"
    plots.rename(tmp_path / "outside")
    plots.symlink_to(tmp_path / "outside")
    mine = tmp_path / "outside" / ".mine.part"
    mine.write_text("kept")
    assert run_here(command) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert mine.exists()


def test_the_metrics_of_another_seed_are_not_averaged(tmp_path, capsys):
    command = flags(tmp_path, "--fast_dev_run", "--seeds", "1", "2")
    assert run_here(command) == 0
    first, second = sorted((tmp_path / "results").glob("*seed*"))
    (second / "metrics.json").write_bytes((first / "metrics.json").read_bytes())
    capsys.readouterr()
    assert run_here(command) == 2
    assert f"is of another run, {first.name}" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[" * 5000])
def test_damaged_metrics_are_no_finished_run(tmp_path, capsys, content):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    (run_folder(tmp_path) / "metrics.json").write_text(content)
    capsys.readouterr()
    assert run_here(command) == 2
    error = capsys.readouterr().err
    assert "metrics.json" in error and "--overwrite runs it again" in error
    assert run_here([*command, "--overwrite"]) == 0


@pytest.mark.parametrize("content", ["{}", "null", "-1", "true", "1.5"])
def test_a_damaged_count_of_overwrites_is_named(tmp_path, capsys, content):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    (run_folder(tmp_path) / "overwritten.json").write_text(content)
    assert run_here([*command, "--overwrite"]) == 1
    assert "overwritten.json is damaged: it holds no number; remove it" in capsys.readouterr().err


def test_wrong_input_of_a_later_seed_is_a_failure_since_the_first_was_trained(tmp_path, capsys):
    assert run_here(flags(tmp_path, "--fast_dev_run", "--seeds", "2")) == 0
    (run_folder(tmp_path) / "metrics.json").write_text("{}")
    assert run_here(flags(tmp_path, "--fast_dev_run", "--seeds", "1", "2")) == 1
    assert "error: seed 2: " in capsys.readouterr().err
    (done,) = (path for path in (tmp_path / "results").glob("*seed1_*"))
    assert (done / "metrics.json").exists()


def test_the_mean_over_seeds_is_of_what_all_of_them_measured(tmp_path, capsys):
    command = flags(tmp_path, "--fast_dev_run", "--seeds", "1", "2")
    assert run_here(command) == 0
    second = sorted((tmp_path / "results").glob("*seed*"))[1] / "metrics.json"
    metrics = json.loads(second.read_text())
    del metrics["sha256"]
    for test in metrics["tests"].values():
        for name in [name for name in test if name not in ("mse", "mae", "measures")]:
            del test[name]
    second.write_text(json.dumps(metrics))
    capsys.readouterr()
    assert run_here(command) == 0
    assert "table: mse " in capsys.readouterr().out
    second.write_text(json.dumps({**metrics, "tests": {}}))
    assert run_here(command) == 0
    assert "no test in common" in capsys.readouterr().out


def test_a_plot_that_is_a_link_is_replaced_and_what_it_points_to_is_kept(tmp_path):
    command = flags(tmp_path, "--fast_dev_run")
    assert run_here(command) == 0
    (tmp_path / "outside").write_text("kept")
    plot = run_folder(tmp_path) / "plots" / "training.png"
    plot.unlink()
    plot.symlink_to(tmp_path / "outside")
    assert run_here([*command, "--overwrite"]) == 0
    assert (tmp_path / "outside").read_text() == "kept" and not plot.is_symlink()


def test_a_folder_that_is_removed_while_plots_are_drawn_does_not_come_back_and_is_not_finished(
    tmp_path, monkeypatch, capsys
):
    import shutil

    from exp.training import record

    draw = record.plot_training_curves

    def remove_and_draw(path, **options):
        shutil.rmtree(run_folder(tmp_path))
        return draw(path, **options)

    monkeypatch.setattr(record, "plot_training_curves", remove_and_draw)
    assert run_here(flags(tmp_path, "--fast_dev_run")) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert not list((tmp_path / "results").iterdir())


def test_a_file_that_is_removed_during_the_run_keeps_it_from_counting_as_finished(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    with pytest.raises(CannotWrite, match=r"config\.json was removed while the run was going on"):
        folder.write_metrics({})
    assert not folder.is_finished
