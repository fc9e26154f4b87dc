"""Every file of a run folder damaged in every way: it is named, mended, or makes no difference."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.endurance.counts import Counts
from tests.exp.runs import flags, result, run_folder, run_here
from tests.exp.training.test_damaged_states import stop_before_epoch
from utils.report.__main__ import report_page
from utils.report.pages.sample_forecasts import Shown
from utils.results import collect
from utils.run_folder import RunFolder
from utils.signals import ON_INTERRUPT

# Their content has no say in any result.
FREE = ("timing.jsonl", ".png")
Damage = Callable[[Path, Path, random.Random], None]


def flip_bit(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def clear_block(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    content = bytearray(path.read_bytes())
    first = chance.randrange(len(content))
    block = content[first : first + 512]
    content[first : first + 512] = bytes(len(block))
    path.write_bytes(content)


def cut(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def put_foreign(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    shutil.copy(foreign, path)


def link(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    copy = next(parent for parent in path.parents if parent.name == "copy")
    outside = copy.with_name(f"outside-{path.name}")
    shutil.copy(foreign, outside)
    path.unlink()
    path.symlink_to(outside)


def delete(path: Path, foreign: Path, chance: random.Random) -> None:  # noqa: ARG001
    path.unlink()


DAMAGES: dict[str, Damage] = {
    "bit": flip_bit, "block": clear_block, "cut": cut, "foreign": put_foreign, "link": link, "deleted": delete,
}  # fmt: skip


def quietly(arguments: list[str]) -> tuple[int, str]:
    """Exit code of the command, and what it said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run_here(arguments)
    return code, said.getvalue()


class Damaged:
    """A finished run, a stopped one and those of another seed; copies of them are damaged and used."""

    def __init__(self, folder: Path, counts: Counts):
        self.folder, self.counts = folder, counts
        self.flags = {
            "finished": [],
            "other finished": ["--seed", "7"],
            "stopped": [],
            "other stopped": ["--seed", "7"],
        }
        for output, more in self.flags.items():
            with pytest.MonkeyPatch.context() as patch:
                if output.endswith("stopped"):
                    stop_before_epoch(patch, 2)
                assert quietly(flags(folder, *more, output=output))[0] in (0, 130)
        self.expected = result(run_folder(folder, "finished"))
        self.tables = self._tables(folder / "finished")
        code, self.forecast = self._predict(run_folder(folder, "finished"), folder / "forecast.csv")
        assert code == 0

    def files(self, output: str) -> list[Path]:
        """The files of a run, from its folder."""
        base = run_folder(self.folder, output)
        return sorted(path.relative_to(base) for path in base.rglob("*") if path.is_file())

    def try_one(self, state: str, file: Path, kind: str, chance: random.Random) -> None:
        """Damage this file of a copy of the run, and use the copy."""
        copy, what = self.folder / "copy", f"{state}, {file}, {kind}"
        shutil.rmtree(copy, ignore_errors=True)
        for path in self.folder.glob("outside-*"):
            path.unlink()
        shutil.copytree(self.folder / state, copy)
        base = run_folder(self.folder, "copy")
        other = run_folder(self.folder, f"other {state}") / file
        DAMAGES[kind](base / file, other if other.is_file() else base / file, chance)
        outside = {path: path.read_bytes() for path in self.folder.glob("outside-*")}
        self.counts.tried["damaged files"] += 1
        try:
            problem = self._stopped(base) if state == "stopped" else self._finished(base)
        except Exception as error:
            self.counts.fail("traceback", f"{what}: {type(error).__name__}: {error}")
            return
        if problem and not file.name.endswith(FREE):
            self.counts.fail("believed" if "differ" in problem else "lost", f"{what}: {problem}")
        if any(path.read_bytes() != content for path, content in outside.items()):
            self.counts.fail("believed", f"{what}: a file outside was written through the link")

    def _stopped(self, base: Path) -> str:
        code, said = quietly(flags(self.folder, output="copy"))
        if code == 0:
            return "" if result(run_folder(self.folder, "copy")) == self.expected else "the results differ"
        (*_, line) = said.strip().splitlines() or [""]
        return "" if code == 1 and line.startswith("error: ") and ON_INTERRUPT not in line else f"{code} {line} {base}"

    def _finished(self, base: Path) -> str:
        tables = self._tables(base.parent)
        if tables not in (self.tables, None):
            return "the tables differ"
        code, forecast = self._predict(base, self.folder / "again.csv")
        if code == 0 and forecast != self.forecast:
            return "the forecasts differ"
        return "" if code in (0, 2) else f"predict ended with {code}"

    def _tables(self, results: Path) -> str | None:
        found = collect(results)
        if not found.runs:
            return None
        report_page(found, "runs", Shown())
        names = ["mse", "mae", "mse_original", "validation_mse", "seed", "name", "data", "epochs", "total"]
        return found.rows[names].to_csv()

    def _predict(self, run: Path, output: Path) -> tuple[int, str]:
        output.unlink(missing_ok=True)
        words = ["--checkpoint", str(run), "--data_path", str(self.folder / "table.csv"), "--output", str(output)]
        code, _ = quietly(["--task_name", "predict", *words, "--interval", "0.5"])
        return code, output.read_text() if output.exists() else ""


def damage_every_file(folder: Path, seed: int, *, times: int = 4, kinds: tuple[str, ...] = tuple(DAMAGES)) -> Counts:
    """Damage every file of a finished and of a stopped run in every way, the random ways several `times`."""
    counts, chance = Counts(), random.Random(seed)
    damaged = Damaged(folder, counts)
    for state in ("finished", "stopped"):
        for file in damaged.files(state):
            for kind in kinds:
                for _ in range(times if kind in ("bit", "block", "cut") else 1):
                    damaged.try_one(state, file, kind, chance)
    assert RunFolder(run_folder(folder, "finished")).is_finished
    return counts
