"""Tokenizer files that are cut, empty or pointers of Git LFS are named in one line; models without text need none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layers.llm.tokenizer import byte_level_tokenizer, find_tokenizer
from models import model_class
from models.base import ForecastSpec
from tests.layers.llm.small_models import save_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1042301\n"
# What is left of the file and what is written behind it.
DAMAGES = {"empty": (0.0, ""), "cut": (0.5, ""), "a pointer": (0.0, POINTER)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """GPT-2's kind of files, vocab.json and merges.txt, beside the tokenizer.json of the same tokens."""
    tokenizer = byte_level_tokenizer(["time"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    pairs = "\n".join(" ".join(pair) for pair in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{pairs}\n")
    return tmp_path


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_a_damaged_file_is_one_line_that_names_it(directory, file, damage):
    if file != "tokenizer.json":
        (directory / "tokenizer.json").unlink()
        assert find_tokenizer(directory, flag="--llm_model").get_vocab_size() > 256
    text, (share, instead) = (directory / file).read_text(), DAMAGES[damage]
    (directory / file).write_text(text[: int(share * len(text))] + instead)
    with pytest.raises(ValueError, match=rf"{file}.* cannot be read") as error:
        find_tokenizer(directory, flag="--llm_model")
    assert "\n" not in str(error.value) and str(directory) in str(error.value)


def test_merges_that_are_cut_at_the_end_of_a_line_are_noticed(directory):
    (directory / "tokenizer.json").unlink()
    lines = (directory / "merges.txt").read_text().splitlines()
    (directory / "merges.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"merges.txt lacks 1 tokens of vocab.json, such as '\],'"):
        find_tokenizer(directory, flag="--llm_model")


@pytest.mark.parametrize("name", ["GPT4TS", "CALF"])
def test_a_model_that_reads_no_text_takes_a_directory_without_a_tokenizer(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "llm"
    folder.mkdir()
    save_model("gpt2", folder)
    (folder / "tokenizer.json").unlink()
    kind = model_class(name)
    settings = {"num_components": 4} if name == "CALF" else {}
    config = kind.Config(llm_model=str(folder), llm_layers=1, **settings)
    assert kind.build(config, ForecastSpec(seq_len=48, pred_len=12, num_channels=2)).count_parameters()["total"] > 0
