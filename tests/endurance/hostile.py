"""Mutated tables, flags, checkpoint headers and run folders: each ends in sound values or in one line."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_provider import check
from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from exp.command_line import parse_command
from exp.predict.forecaster import load_forecaster
from tests.endurance.counts import Counts
from tests.exp.runs import flags, run_folder, run_here, write_table
from tests.exp.training.two_processes import experiment, loop_of
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.report.__main__ import report_page
from utils.report.pages.sample_forecasts import Shown
from utils.results import collect, write_results

CLEAR = (ValueError, OSError)
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 7, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", "x", "1",
    "=cmd()", "\x1b[2J", "\ud800", "../../x", "a\nb", [], [[]], [0], ["x"], {}, {"x": 1}, {"x": {"y": []}}, "y" * 300,
]  # fmt: skip
SNIPPETS = [
    b"", b",", b"\n", b'"', b";", b"nan", b"inf", b"-", b"1e400", b"1e308", b"1e160", b"-1e308", b"0x1F", b"=2+2",
    b"\x00", b"\xff\xfe", b"2024-02-30", b"9999-99-99", b"date", b"\r", b"\t", b"1,5", b"True", b"\xe2\x82",
    b"\x1b[31m",
    b"A" * 140_000,
]  # fmt: skip
WORDS = [
    "--model", "DLinear", "BALM", "CALF", "PatchTST", "tslib:x", "--data", "demo", "custom", "--batch_size", "0", "-1",
    "1e9", "nan", "inf", "--learning_rate", "--learning_rate=inf", "--feature_weight=inf", "--checkpoint_steps=--",
    "--seeds", "--task_name", "zero_shot_forecast", "predict", "--des", "../x", "--no_learnable_prompt", "--lora_rank",
    "--precision", "bf16", "--percent", "101", "", "--", "-", "=", "--batch_size=8", "--patience", "x", "--label_len",
    "--llm_layers", "--dropout", "2", "--track", "none", "--features", "MS", "--seed", "9" * 30, "--seed=--", "\x1b[2J",
]  # fmt: skip


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """`content` with a few places replaced."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        content = content[:place] + chance.choice(SNIPPETS) + content[place + chance.randint(0, 40) :]
    return content


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a JSON value something can be replaced."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, entry in entries for place in places_of(entry, (*path, key))]


def mutated_json(value: Any, chance: random.Random) -> Any:
    """`value` with one to three entries replaced, removed or swapped for another one of its own."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = places_of(value)
        if not places:
            return value
        *parents, last = chance.choice(places)
        holder = value
        for key in parents:
            holder = holder[key]
        if chance.random() < 0.2:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(chance.choice(VALUES))
    return value


class Hostile:
    """A small run to mutate files of; each method makes one input from `chance` and uses it."""

    def __init__(self, folder: Path, counts: Counts):
        self.folder, self.counts = folder, counts
        self.table = write_table(folder / "small.csv", num_rows=60).read_bytes()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            command = flags(folder, "--train_epochs", "2", "--checkpoint_steps", "3")
            assert run_here(command) == 0
            self.loop = loop_of(experiment([*command, "--overwrite"]))
        self.run = run_folder(folder)
        self.frame = pd.read_csv(folder / "table.csv")
        self.headers = {
            name: load_checkpoint(self.run / "checkpoint" / f"{name}.safetensors") for name in ("best", "last")
        }

    def kinds(self) -> dict[str, Callable[[random.Random], None]]:
        """What is mutated -> how it is tried."""
        return {"tables": self.one_table, "flags": self.one_command, "headers": self.one_header,
                "states": self.one_state, "folders": self.one_folder}  # fmt: skip

    def attempt(self, kind: str, number: int) -> None:
        """Try one input; any error but a clear one is a problem."""
        self.counts.tried[kind] += 1
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                self.kinds()[kind](random.Random(f"{kind} {number}"))
        except CLEAR as error:
            if isinstance(error, UnicodeError) or not str(error).strip():
                self.counts.fail("traceback", f"{kind} {number}: {type(error).__name__}: {error}")
        except AssertionError as error:
            self.counts.fail("believed", f"{kind} {number}: {error}")
        except (Exception, SystemExit) as error:
            if not (isinstance(error, SystemExit) and error.code == 0):
                self.counts.fail("traceback", f"{kind} {number}: {type(error).__name__}: {str(error)[:200]}")

    def one_table(self, chance: random.Random) -> None:
        path = self.folder / "mutated.csv"
        path.write_bytes(mutated_bytes(self.table, chance))
        accepted = check.main([str(path)]) == 0
        series = load_series(DataConfig(data="custom", data_path=str(path), seq_len=8, pred_len=4))
        scaled = series.scaler.transform(series.values).astype(np.float32)
        assert np.isfinite(scaled).all(), "scaled values are not finite"
        assert accepted, "training reads what check refuses"

    def one_command(self, chance: random.Random) -> None:
        parse_command([chance.choice(WORDS) for _ in range(chance.randint(1, 8))])

    def one_header(self, chance: random.Random) -> None:
        tensors, header = self.headers["best"]
        path = self.folder / "mutated.safetensors"
        save_checkpoint(path, tensors, mutated_json(header, chance))
        found = load_forecaster(path, device="cpu").predict(self.frame)
        numbers = found.select_dtypes("number").to_numpy()
        assert np.isfinite(numbers).all(), "the forecast is not finite"

    def one_state(self, chance: random.Random) -> None:
        tensors, header = self.headers["last"]
        path = self.folder / "mutated.safetensors"
        save_checkpoint(path, tensors, {**header, "state": mutated_json(header["state"], chance)})
        self.loop.state.restore(path, self.loop.runtime)
        self.loop.state.optimizer.step()
        self.loop.state.schedule.after_epoch()

    def one_folder(self, chance: random.Random) -> None:
        results = self.folder / "mutated"
        shutil.rmtree(results, ignore_errors=True)
        for name in ("whole", "mutated"):
            shutil.copytree(self.run, results / name, ignore=shutil.ignore_patterns("last*", "*.png"))
        name = chance.choice(["metrics.json", "metrics.json", "config.json", "history.jsonl", "forecasts.safetensors",
                              "window_errors.safetensors", "checkpoint/intervals.safetensors"])  # fmt: skip
        path = results / "mutated" / name
        if name.endswith("safetensors"):
            tensors, header = load_checkpoint(path)
            save_checkpoint(path, tensors, mutated_json(header, chance))
        elif chance.random() < 0.2:
            path.write_bytes(mutated_bytes(path.read_bytes(), chance))
        else:
            lines = [json.loads(line) for line in path.read_text().splitlines()] if name.endswith("l") else None
            value = mutated_json(lines if lines is not None else json.loads(path.read_text()), chance)
            if isinstance(value, dict):
                value.pop("sha256", None)
            texts = [json.dumps(line) for line in value] if isinstance(lines, list) else [json.dumps(value)]
            path.write_text("\n".join(texts))
        found = collect(results)
        assert any(run.folder.path.name == "whole" for run in found.runs), "one odd folder took the others down"
        write_results(found, results / "tables", results)
        report_page(found, "runs", Shown())


def feed_hostile_inputs(folder: Path, number: int, seed: int) -> Counts:
    """Try that many inputs, as many of each kind."""
    counts = Counts()
    hostile = Hostile(folder, counts)
    kinds = list(hostile.kinds())
    for count in range(number):
        hostile.attempt(kinds[count % len(kinds)], seed * 10**6 + count)
    return counts
