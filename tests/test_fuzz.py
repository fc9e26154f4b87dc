"""Damaged and invented input of every kind ends in one clear error or in sound values, never in anything else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from data_provider.config import DataConfig
from data_provider.data_factory import load_series
from exp.command_line import parse_command
from exp.training.loop import TrainingLoop
from tests.exp.runs import flags, run_folder, run_here, write_table
from tests.exp.training.two_processes import experiment, loop_of
from utils.checkpoint import load_checkpoint
from utils.files import DamagedFile, read_json

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# What stands in damaged tables: odd numbers, separators, quotes, dates, formulas, half characters.
SNIPPETS = [
    b"", b",", b"\n", b'"', b";", b"nan", b"inf", b"-", b"1e400", b"1e300", b"0x1F", b"=2+2", b"__import__('os')",
    b"\x00", b"\xff\xfe", b"2024-02-30", b"9999-99-99", b"date", b"\r", b"\t", b" ", b"1,5", b"True", b"\xe2\x82",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.sampled_from(SNIPPETS) | st.binary(max_size=4)),
    min_size=1, max_size=4,
)  # fmt: skip


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """`content` after replacing, at some positions, some bytes by others."""
    for position, length, snippet in edits:
        place = position % (len(content) + 1)
        content = content[:place] + snippet + content[place + length :]
    return content


def assert_clear(error: BaseException) -> None:
    """A user can read it: one line that says something."""
    assert str(error).strip()
    assert "\n" not in str(error).strip(), str(error)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> bytes:
    return write_table(tmp_path_factory.mktemp("table") / "table.csv", num_rows=60).read_bytes()


@QUICK
@given(edits=EDITS)
def test_a_damaged_table_is_read_soundly_or_refused(table, tmp_path, edits):
    path = tmp_path / "table.csv"
    path.write_bytes(edited(table, edits))
    try:
        series = load_series(DataConfig(data="custom", data_path=str(path), seq_len=8, pred_len=4))
    except (ValueError, OSError) as error:
        assert_clear(error)
        return
    assert np.isfinite(series.values).all()
    assert np.isfinite(series.scaler.transform(series.values)).all()
    assert series.values.shape == (len(series.dates), series.num_channels)


WORDS = st.sampled_from([
    "--model", "DLinear", "BALM", "--data", "demo", "--batch_size", "0", "-1", "32", "1e9", "nan", "--learning_rate",
    "--seeds", "--task_name", "zero_shot_forecast", "predict", "--des", "../x", "--no_learnable_prompt", "--lora_rank",
    "--precision", "bf16", "--percent", "101", "", "--", "-", "=", "--batch_size=8", "--patience", "x", "--label_len",
    "--llm_layers", "--dropout", "2", "--track", "none", "--features", "MS", "--seed", "99999999999999999999",
])  # fmt: skip


@settings(QUICK, max_examples=30)
@given(words=st.lists(WORDS | st.text(max_size=5), max_size=8))
def test_an_invented_command_is_understood_or_refused(words):
    try:
        parse_command(words)
    except (ValueError, OSError) as error:
        assert_clear(error)


@QUICK
@given(content=st.binary(max_size=40) | st.text(alphabet='{}[]",:0 eE+-.tfn\\u', max_size=40).map(str.encode))
def test_invented_json_is_read_or_named(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    try:
        read_json(path)
    except DamagedFile as error:
        assert_clear(error)


class BrokenOff:
    """A training loop, the bytes of a checkpoint to resume it from, and the progress that is saved in it."""

    def __init__(self, loop: TrainingLoop, path: Path):
        self.loop, self.content = loop, path.read_bytes()
        loop.state.restore(path, loop.runtime)
        self.saved = copy.deepcopy((loop.state.progress, loop.state.stopping, loop.model.saved_state()))


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory) -> BrokenOff:
    folder = tmp_path_factory.mktemp("fuzz")
    command = flags(folder, "--train_epochs", "1", "--checkpoint_steps", "2")
    assert run_here(command) == 0
    last = run_folder(folder) / "checkpoint" / "last.safetensors"
    return BrokenOff(loop_of(experiment([*command, "--overwrite"])), last)


def restore(broken_off: BrokenOff, path: Path) -> None:
    """Continues from `path`: either it is what was saved or the file is named."""
    loop = broken_off.loop
    try:
        loop.state.restore(path, loop.runtime)
    except OSError as error:
        assert_clear(error)
        assert path.name in str(error)
        return
    progress, stopping, weights = broken_off.saved
    assert (loop.state.progress, loop.state.stopping) == (progress, stopping)
    assert all(torch.equal(value, weights[name]) for name, value in loop.model.saved_state().items())
    loop.state.optimizer.zero_grad()
    loop.model(torch.zeros(2, 96, 2)).values.sum().backward()
    loop.state.optimizer.step()
    loop.state.schedule.after_epoch()


@QUICK
@given(edits=EDITS)
def test_a_damaged_checkpoint_is_restored_soundly_or_named(broken_off, tmp_path, edits):
    path = tmp_path / "last.safetensors"
    path.write_bytes(edited(broken_off.content, edits))
    restore(broken_off, path)


JSON = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})


def places_of(value: Any, path: tuple = ()) -> list[tuple]:
    """Where in a JSON value something can be replaced."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, entry in entries for place in places_of(entry, (*path, key))]


@QUICK
@given(choice=st.integers(0, 10**6), replacement=JSON, drop=st.booleans())
def test_a_checkpoint_whose_header_was_changed_is_named(broken_off, tmp_path, choice, replacement, drop):
    path = tmp_path / "last.safetensors"
    path.write_bytes(broken_off.content)
    tensors, header = load_checkpoint(path)
    changed = copy.deepcopy(header)
    places = places_of(changed["state"], ("state",))
    *parents, last = places[choice % len(places)]
    holder = changed
    for key in parents:
        holder = holder[key]
    if drop:
        del holder[last]
    else:
        holder[last] = replacement
    with safe_open(path, framework="pt") as file:
        sha256 = json.loads(file.metadata()["json"])["sha256"]
    save_file(tensors, path, metadata={"json": json.dumps({"header": changed, "sha256": sha256})})
    if json.dumps(changed) == json.dumps(header):
        restore(broken_off, path)
        return
    with pytest.raises(DamagedFile, match=r"last\.safetensors .* does not match its SHA-256") as raised:
        load_checkpoint(path)
    assert_clear(raised.value)


def test_a_table_with_constant_and_extreme_columns_runs_through(tmp_path):
    path = write_table(tmp_path / "table.csv")
    lines = path.read_text().splitlines()
    spiked = [f"{line},3.0,{1e30 if number == 300 else number % 7}" for number, line in enumerate(lines[1:])]
    path.write_text("\n".join([f"{lines[0]},CONSTANT,SPIKE", *spiked]))
    assert run_here(flags(tmp_path, "--train_epochs", "1")) == 0
    (test,) = json.loads((run_folder(tmp_path) / "metrics.json").read_text())["tests"].values()
    per_channel = dict(zip(test["per_channel"]["columns"], test["per_channel"]["mse"], strict=True))
    assert 1e50 < per_channel["SPIKE"] < float("inf")
    assert per_channel["A"] < 10
