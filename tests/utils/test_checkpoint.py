"""Checkpoints give back what was saved, and name a file that is none."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from utils.checkpoint import (
    load_checkpoint,
    optimizer_state,
    pack,
    restore_optimizer,
    save_checkpoint,
    unpack,
)
from utils.files import DamagedFile


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(3, 4, generator=generator),
        "b": torch.arange(5),
        "c": torch.ones(2, 2).bfloat16(),
        "empty": torch.zeros(0, 2),
        "number": torch.tensor(True),
    }


def test_tensors_and_header_come_back_as_they_were(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", tensors(), {"epoch": 3, "scale": [0.1, 1e-300]})
    loaded, header = load_checkpoint(tmp_path / "x.safetensors")
    assert header == {"epoch": 3, "scale": [0.1, 1e-300]}
    assert {name: value.dtype for name, value in loaded.items()} == {n: v.dtype for n, v in tensors().items()}
    assert all(torch.equal(loaded[name], value) for name, value in tensors().items())


def test_a_transposed_tensor_is_saved_as_it_is_seen(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", {"a": tensors()["a"].T}, {})
    assert torch.equal(load_checkpoint(tmp_path / "x.safetensors")[0]["a"], tensors()["a"].T)


@pytest.mark.parametrize("keep", [0, 1, 7, 9, 200, -1])
def test_a_checkpoint_that_is_cut_short_is_named(tmp_path, keep):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, tensors(), {"epoch": 1})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedFile, match=r"best\.safetensors is not a checkpoint of this library, or is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"json": "{"}, {"json": "[]"}])
def test_a_foreign_safetensors_file_is_named(tmp_path, metadata):
    save_file(tensors(), tmp_path / "best.safetensors", metadata=metadata)
    with pytest.raises(DamagedFile, match=r"best\.safetensors"):
        load_checkpoint(tmp_path / "best.safetensors")


def content_of(path) -> tuple[dict[str, torch.Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["json"])  # noqa: SIM118


@pytest.mark.parametrize(
    ("tensor_changes", "content_changes"),
    [
        ({"a": torch.zeros(3, 4)}, {}),
        ({"b": torch.arange(5).view(5, 1)}, {}),
        ({"b": torch.arange(5, dtype=torch.int32)}, {}),
        ({"d": torch.ones(1)}, {}),
        ({}, {"header": {"epoch": 2}}),
        ({}, {"header": {"epoch": 1.0}}),
        ({}, {"header": None}),
        ({}, {"sha256": hashlib.sha256(b"").hexdigest()}),
        ({}, {"sha256": None}),
    ],
)
def test_any_change_of_tensors_or_header_is_noticed(tmp_path, tensor_changes, content_changes):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, tensors(), {"epoch": 1})
    found, content = content_of(path)
    save_file(found | tensor_changes, path, metadata={"json": json.dumps(content | content_changes)})
    with pytest.raises(DamagedFile, match=r"best\.safetensors .* does not match its SHA-256"):
        load_checkpoint(path)


@pytest.mark.parametrize("missing", ["header", "sha256"])
def test_a_checkpoint_that_lost_its_header_or_its_hash_is_named(tmp_path, missing):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, tensors(), {"epoch": 1})
    found, content = content_of(path)
    del content[missing]
    save_file(found, path, metadata={"json": json.dumps(content)})
    with pytest.raises(DamagedFile, match=missing):
        load_checkpoint(path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_one_changed_byte_is_noticed_or_changes_nothing(tmp_path_factory, position, byte):
    path = tmp_path_factory.mktemp("byte") / "best.safetensors"
    save_checkpoint(path, tensors(), {"epoch": 1})
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        found, header = load_checkpoint(path)
    except DamagedFile:
        return
    assert header == {"epoch": 1}
    assert all(torch.equal(found[name], value) for name, value in tensors().items())


def test_a_checkpoint_written_before_there_were_hashes_is_read(tmp_path):
    save_file(tensors(), tmp_path / "x.safetensors", metadata={"json": json.dumps({"epoch": 3})})
    loaded, header = load_checkpoint(tmp_path / "x.safetensors")
    assert header == {"epoch": 3}
    assert all(torch.equal(loaded[name], value) for name, value in tensors().items())


def test_equal_content_gives_equal_files(tmp_path):
    for name in ("first", "second"):
        save_checkpoint(tmp_path / name, tensors(), {"epoch": 1, "labels": ["x"]})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors is missing"):
        load_checkpoint(tmp_path / "best.safetensors")


def test_sets_of_tensors_share_a_file_without_mixing():
    both = {**pack("model", {"a": torch.ones(1)}), **pack("optimizer", {"a": torch.zeros(1), "0/step": torch.ones(())})}
    assert set(unpack("model", both)) == {"a"}
    assert set(unpack("optimizer", both)) == {"a", "0/step"}


def trained(num_steps: int) -> tuple[torch.nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam([{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.1}], betas=(0.8, 0.99))
    step(layer, optimizer, range(num_steps))
    return layer, optimizer


def step(layer: torch.nn.Linear, optimizer: torch.optim.Adam, numbers: range) -> None:
    for number in numbers:
        optimizer.zero_grad()
        layer(torch.full((1, 3), float(number))).square().sum().backward()
        optimizer.step()


def test_a_restored_optimiser_takes_the_same_next_step(tmp_path):
    layer, optimizer = trained(3)
    saved, groups = optimizer_state(optimizer)
    save_checkpoint(tmp_path / "last.safetensors", saved, {"groups": groups})
    saved, header = load_checkpoint(tmp_path / "last.safetensors")
    other, fresh = trained(0)
    other.load_state_dict(layer.state_dict())
    restore_optimizer(fresh, saved, header["groups"])
    step(layer, optimizer, range(3, 5))
    step(other, fresh, range(3, 5))
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)


@pytest.mark.parametrize(
    ("name", "value"),
    [("7/step", torch.tensor(1.0)), ("x", torch.tensor(1.0)), ("0/exp_avg", torch.ones(1)), ("0/step", torch.ones(4))],
)
def test_an_optimiser_state_of_other_parameters_is_refused(name, value):
    _, optimizer = trained(2)
    saved, groups = optimizer_state(optimizer)
    with pytest.raises(ValueError, match="the optimiser's"):
        restore_optimizer(optimizer, {**saved, name: value}, groups)


@pytest.mark.parametrize("groups", [[], [[0, 1]], [[0], [1], []], [[0, 1], []]])
def test_groups_of_other_parameters_are_refused(groups):
    _, optimizer = trained(2)
    saved, own = optimizer_state(optimizer)
    with pytest.raises(ValueError, match="the optimiser's groups"):
        restore_optimizer(optimizer, saved, [{**own[0], "params": indices} for indices in groups])


@pytest.mark.parametrize("change", [{"foreach": True}, {"fused": True}, {"capturable": True}, {"new": 1}])
def test_how_adam_computes_may_differ_between_save_and_resume(change):
    _, optimizer = trained(3)
    saved, groups = optimizer_state(optimizer)
    other, fresh = trained(0)
    moved = [{**group, **change, "lr": 0.3, "betas": [0.5, 0.6]} for group in groups]
    restore_optimizer(fresh, saved, moved)
    for before, after in zip(groups, fresh.state_dict()["param_groups"], strict=True):
        assert after == {**before, "lr": 0.3, "betas": (0.5, 0.6)}
    step(other, fresh, range(1))
