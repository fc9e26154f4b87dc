"""The store of text features on disk: exact, shared, bounded, and whole after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from exp.training.features.store import DIGEST_BYTES, TextStore
from layers.text_encoder import TextEncoder
from tests.exp.small_runs import TINY_LLM, table, train
from utils.checkpoint import save_checkpoint
from utils.files import owner_mark

PLENTY = 2**30


def digests(first: int, count: int) -> list[bytes]:
    return [number.to_bytes(DIGEST_BYTES, "big") for number in range(first, first + count)]


def features(count: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(count, 2, 3, generator=generator)
    return {"head": head, "half": head[:, 0].bfloat16()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


def test_what_was_written_is_read_bit_for_bit_in_any_order_by_a_later_store(tmp_path):
    store = TextStore(tmp_path, {"llm": "a"}, max_bytes=PLENTY)
    store.write(digests(0, 4), features(4))
    store.write(digests(4, 3), features(3, seed=1))
    later = TextStore(tmp_path, {"llm": "a"}, max_bytes=PLENTY)
    assert len(later) == 7
    wanted = [digests(5, 1)[0], digests(1, 1)[0]]
    expected = {name: torch.stack([features(3, seed=1)[name][1], features(4)[name][1]]) for name in ("head", "half")}
    for each in (store, later):
        assert_same(each.read(wanted), expected)
    assert digests(9, 1)[0] not in later


def test_features_of_another_identity_are_not_seen(tmp_path):
    TextStore(tmp_path, {"llm": "a"}, max_bytes=PLENTY).write(digests(0, 2), features(2))
    assert len(TextStore(tmp_path, {"llm": "b"}, max_bytes=PLENTY)) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "other shapes", "no digests", "no hash"])
def test_a_part_that_is_damaged_or_not_its_own_is_left_out_and_the_others_are_used(damage, tmp_path, caplog):
    store = TextStore(tmp_path, {}, max_bytes=PLENTY)
    store.write(digests(2, 2), features(2, seed=1))
    (whole,) = store.folder.iterdir()
    # Parts are opened in the order of their names: the damaged one comes last.
    damaged = store.folder / f"part-{'f' * 32}.safetensors"
    content = bytearray(whole.read_bytes())
    if damage == "flip":
        content[-2] ^= 1
    if damage == "cut":
        del content[len(content) // 2 :]
    damaged.write_bytes(b"" if damage == "empty" else content)
    if damage == "foreign":
        other = TextStore(tmp_path, {"llm": "other"}, max_bytes=PLENTY)
        other.write(digests(0, 2), features(2))
        (part,) = other.folder.iterdir()
        damaged.write_bytes(part.read_bytes())
    if damage == "other shapes":
        wider = {name: tensor.repeat(1, *[2] * (tensor.ndim - 1)) for name, tensor in features(2).items()}
        save_checkpoint(damaged, {**wider, "digests": torch.zeros(2, 16).byte()}, {"identity": store.identity})
    if damage == "no digests":
        save_checkpoint(damaged, features(2), {"identity": store.identity})
    if damage == "no hash":
        tensors = {**features(2), "digests": torch.zeros(2, 16).byte()}
        save_file(tensors, damaged, metadata={"json": json.dumps({"identity": store.identity})})
    later = TextStore(tmp_path, {}, max_bytes=PLENTY)
    assert f"{damaged} is damaged" in caplog.text
    assert len(later) == 2
    assert_same(later.read(digests(2, 2)), features(2, seed=1))


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    store = TextStore(tmp_path, {}, max_bytes=PLENTY)
    store.write(digests(0, 2), features(2))
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = owner_mark().partition("-")[0]
    names = [f".part-{'a' * 32}.safetensors.{mark}.part" for mark in (f"{host}-{int(done.stdout)}", owner_mark())]
    for name in names:
        (store.folder / name).write_bytes(b"half")
    TextStore(tmp_path, {}, max_bytes=PLENTY)
    assert [(store.folder / name).exists() for name in names] == [False, True]


def test_a_full_store_drops_what_was_not_used_for_longest_and_then_stores_no_more(tmp_path, caplog):
    old = TextStore(tmp_path, {"llm": "old"}, max_bytes=PLENTY)
    old.write(digests(0, 4), features(4))
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    new = TextStore(tmp_path, {"llm": "new"}, max_bytes=size + 10)
    new.write(digests(0, 4), features(4))
    assert not old.folder.exists()
    assert len(new) == 4
    new.write(digests(4, 4), features(4))
    assert "is full: raise --text_store_gb" in caplog.text
    assert len(new) == 4


def test_what_can_never_fit_removes_nobody_elses_readings(tmp_path, caplog):
    old = TextStore(tmp_path, {"llm": "old"}, max_bytes=PLENTY)
    old.write(digests(0, 4), features(4))
    new = TextStore(tmp_path, {"llm": "new"}, max_bytes=4000)
    new.write(digests(0, 400), features(400))
    assert "is full: raise --text_store_gb" in caplog.text
    assert len(new) == 0
    assert len(TextStore(tmp_path, {"llm": "old"}, max_bytes=PLENTY)) == 4


def test_what_another_process_stores_is_found_when_it_is_looked_for_again(tmp_path):
    one, other = (TextStore(tmp_path, {}, max_bytes=PLENTY) for _ in range(2))
    one.write(digests(0, 2), features(2))
    other.write(digests(2, 2), features(2, seed=1))
    assert len(one) == 2
    one.look_again()
    one.look_again()
    assert len(one) == 4 and len(one._parts) == 2
    assert_same(one.read(digests(2, 2)), features(2, seed=1))


def test_what_is_not_the_stores_is_neither_counted_nor_removed(tmp_path):
    for name in ("thesis", "0123456789abcdef01234567", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter.txt").write_text("years of work" * 1000)
    (tmp_path / ("f" * 24)).symlink_to(tmp_path / "thesis")
    old = TextStore(tmp_path, {"llm": "old"}, max_bytes=PLENTY)
    old.write(digests(0, 4), features(4))
    size = sum(file.stat().st_size for file in old.folder.rglob("*") if file.is_file())
    new = TextStore(tmp_path, {"llm": "new"}, max_bytes=size + 10)
    new.write(digests(0, 4), features(4))
    assert len(new) == 4
    assert not old.folder.exists()
    assert all((tmp_path / name / "chapter.txt").exists() for name in ("thesis", "0123456789abcdef01234567", ".hidden"))


def test_a_stray_file_in_the_stores_own_folder_is_counted(tmp_path):
    store = TextStore(tmp_path, {}, max_bytes=5000)
    store.write(digests(0, 4), features(4))
    (store.folder / ".DS_Store").write_bytes(bytes(5000))
    store.write(digests(4, 4), features(4))
    assert len(store) == 4


def test_a_link_in_place_of_the_stores_folder_is_not_followed(tmp_path, caplog):
    (tmp_path / "outside").mkdir()
    place = TextStore(tmp_path, {}, max_bytes=PLENTY).folder
    place.symlink_to(tmp_path / "outside")
    store = TextStore(tmp_path, {}, max_bytes=PLENTY)
    store.write(digests(0, 4), features(4))
    assert len(store) == 0 and list((tmp_path / "outside").iterdir()) == []
    assert "is a link" in caplog.text


RIVAL = """
import sys, time
import torch
from exp.training.features.store import TextStore
end, number = time.monotonic() + 3, 0
while time.monotonic() < end:
    store = TextStore(sys.argv[1], {"of": f"{sys.argv[2]}{number % 3}"}, max_bytes=300_000)
    store.write([(number + i).to_bytes(16, "big") for i in range(20)], {"head": torch.zeros(20, 500)})
    number += 20
"""


def test_processes_that_make_room_for_each_other_end_none_of_them(tmp_path):
    rivals = [
        subprocess.Popen([sys.executable, "-c", RIVAL, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for rival in rivals:
        _, said = rival.communicate()
        assert rival.returncode == 0, said
    # Each may write a part of 40 kB in the moment in which another does.
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 300_000 + 2 * 45_000


def test_two_writers_of_the_same_texts_leave_one_answer(tmp_path):
    first, second = (TextStore(tmp_path, {}, max_bytes=PLENTY) for _ in range(2))
    first.write(digests(0, 3), features(3))
    second.write(digests(0, 3), features(3, seed=1))
    later = [TextStore(tmp_path, {}, max_bytes=PLENTY).read(digests(0, 3)) for _ in range(2)]
    assert_same(later[0], later[1])
    written = [features(3, seed=seed)["head"] for seed in (0, 1)]
    assert any(torch.equal(later[0]["head"], head) for head in written)


KILLED = """
import os, signal, sys, threading, time
import torch
from exp.training.features.store import TextStore
store = TextStore(sys.argv[1], {}, max_bytes=2**30)
def kill():
    time.sleep(float(sys.argv[2]))
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
number = 0
while True:
    store.write([(number + i).to_bytes(16, "big") for i in range(50)], {"head": torch.full((50, 4000), float(number))})
    number += 50
"""


def test_a_writer_killed_in_the_middle_leaves_whole_parts_only(tmp_path):
    for delay in ("0.3", "0.51"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), delay], check=False)
    store = TextStore(tmp_path, {}, max_bytes=PLENTY)
    assert len(store) >= 50 and len(store) % 50 == 0
    for number in range(0, len(store), 50):
        found = store.read([(number + i).to_bytes(16, "big") for i in range(50)])["head"]
        assert torch.equal(found, torch.full((50, 4000), float(number)))


@pytest.fixture
def place(tmp_path) -> Path:
    table(200).to_csv(tmp_path / "my.csv", index=False)
    return tmp_path


def test_a_second_run_with_the_store_reads_no_text_and_is_bit_equal(place, monkeypatch):
    flags = [*TINY_LLM, "--patch_len", "4", "--stride", "2", "--d_model", "4", "--d_ff", "8", "--no_learnable_prompt"]
    with_store = [*flags, "--text_store", str(place / "texts")]
    calls = []
    states = TextEncoder.states
    monkeypatch.setattr(TextEncoder, "states", lambda *a, **k: calls.append(1) or states(*a, **k))
    plain = train(place / "my.csv", place / "plain", *flags, model="BALM")
    first = train(place / "my.csv", place / "first", *with_store, model="BALM")
    assert calls
    calls.clear()
    second = train(place / "my.csv", place / "second", *with_store, model="BALM")
    third = train(place / "my.csv", place / "third", *with_store, "--text_branch", "permuted", model="BALM")
    # Only the diagnostics of the report read texts, of a few rows.
    assert len(calls) <= 4
    metrics = [json.loads((run / "metrics.json").read_text())["tests"] for run in (plain, first, second, third)]
    histories = [(run / "history.jsonl").read_text() for run in (first, second)]
    assert metrics[1] == metrics[2]
    assert histories[0] == histories[1]
    (name,) = metrics[0]
    assert metrics[0][name]["mse"] == pytest.approx(metrics[1][name]["mse"], rel=1e-5)
    assert metrics[3][name]["mse"] != metrics[1][name]["mse"]
    assert plain.name == first.name


def test_a_cache_with_some_texts_stored_gives_every_row_its_own_features(tmp_path, monkeypatch):
    from exp.training.features import cache as feature_cache

    inputs = {"prompt_ids": torch.tensor([[3], [1], [4], [2]]), "prompt_lengths": torch.ones(4, dtype=torch.int16)}
    found = feature_cache.digests_of(inputs)
    store = TextStore(tmp_path, {}, max_bytes=PLENTY)
    store.write([found[2], found[1]], {"state": torch.tensor([[40.0], [10.0]])})
    asked = []

    def computed(_model: object, rest: dict[str, Tensor]) -> dict[str, Tensor]:
        asked.extend(rest["prompt_ids"][:, 0].tolist())
        return {"state": 10.0 * rest["prompt_ids"]}

    monkeypatch.setattr(feature_cache, "features_alone", computed)
    cache = feature_cache.FeatureCache.__new__(feature_cache.FeatureCache)
    cache.text_store, cache.model = store, None  # pyright: ignore[reportAttributeAccessIssue]
    assert cache._computed(inputs, found)["state"][:, 0].tolist() == [30.0, 10.0, 40.0, 20.0]
    assert asked == [3, 2]
