"""Models in a `.gguf` file: dequantised once, then read from the user's cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layers.llm import gguf_file
from layers.llm.loading import LLMConfig, load_backbone
from tests.layers.llm.small_models import TOKENIZER

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
WIDTH, BLOCKS = 32, 2


def write_model(path: Path, *, architecture: str = "llama") -> dict[str, np.ndarray]:
    """Write a Llama of two blocks in Q4_1 and return its rounded matrices."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("small")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    vocabulary = sorted(TOKENIZER.get_vocab().items(), key=lambda pair: pair[1])
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([1] * len(vocabulary))
    writer.add_token_merges(["0 1", "1 2", "2 3"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    kind, rounded = gguf.GGMLQuantizationType.Q4_1, {}
    square = {f"attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    shapes = {**square, "ffn_gate": (64, WIDTH), "ffn_up": (64, WIDTH), "ffn_down": (WIDTH, 64)}
    matrices = {f"blk.{i}.{name}.weight": shape for i in range(BLOCKS) for name, shape in shapes.items()}
    for name, shape in {"token_embd.weight": (len(vocabulary), WIDTH), **matrices}.items():
        packed = gguf.quants.quantize(random.normal(size=shape).astype(np.float32), kind)
        rounded[name] = gguf.quants.dequantize(packed, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
    for name in ["output_norm", *(f"blk.{i}.{norm}" for i in range(BLOCKS) for norm in ("attn_norm", "ffn_norm"))]:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return rounded


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_is_dequantised_exactly_once_and_then_read_from_the_cache(cache, tmp_path, monkeypatch):
    path = tmp_path / "Small-Instruct.Q4_1.gguf"
    rounded = write_model(path)
    first = load_backbone(LLMConfig(llm_model=str(path), llm_layers=1))
    torch.testing.assert_close(first.word_table(), torch.from_numpy(rounded["token_embd.weight"]), rtol=0, atol=0)
    down = first.model.get_parameter("layers.0.mlp.down_proj.weight")
    torch.testing.assert_close(down, torch.from_numpy(rounded["blk.0.ffn_down.weight"]), rtol=0, atol=0)
    assert first.fingerprint["description"] == "Small-Instruct, rounded to 4 bits, instruction-tuned"
    monkeypatch.setattr(gguf_file, "_convert", lambda *_: pytest.fail("converted again"))
    assert load_backbone(LLMConfig(llm_model=str(path), llm_layers=1)).fingerprint == first.fingerprint
    assert [folder.name[:5] for folder in (cache / "balm-forecasting").iterdir()] == ["gguf_"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:40], "cannot be read as a language model"),
        (lambda content: content[:0], "cannot be read as a language model"),
        (lambda content: b"x" * len(content), "cannot be read as a language model"),
        (lambda content: content[: len(content) // 2], "cannot be read as a language model"),
    ],
    ids=["cut header", "empty", "no gguf", "cut"],
)
def test_a_damaged_file_is_one_line_and_leaves_nothing_behind(damage, message, cache, tmp_path):
    path = tmp_path / "damaged.gguf"
    write_model(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        load_backbone(LLMConfig(llm_model=str(path), llm_layers=1))
    assert "\n" not in str(error.value)
    assert not cache.exists() or not list(cache.rglob("*.safetensors"))


def test_a_file_of_an_unknown_architecture_is_refused(cache, tmp_path):
    path = tmp_path / "mamba.gguf"
    write_model(path, architecture="rwkv6")
    with pytest.raises(ValueError, match=r"cannot be read as a language model: .*rwkv6"):
        load_backbone(LLMConfig(llm_model=str(path), llm_layers=1))
    assert not cache.exists() or not list(cache.rglob("*.safetensors"))
