"""Principal word embeddings and their cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from threadpoolctl import threadpool_limits

from layers.llm.user_cache import cache_directory
from layers.word_components import cached_word_embeddings, principal_word_embeddings


@pytest.fixture
def word_table() -> torch.Tensor:
    return torch.randn(60, 12, generator=torch.Generator().manual_seed(0))


def test_the_samples_are_the_dimensions_and_the_components_are_ordered(word_table):
    scores = principal_word_embeddings(word_table, 5)
    assert scores.shape == (12, 5)
    torch.testing.assert_close(scores.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    spread = scores.square().sum(0)
    assert (spread[:-1] >= spread[1:]).all()
    products = scores.T @ scores
    torch.testing.assert_close(products, torch.diag(spread), atol=1e-3, rtol=0)


def test_all_components_keep_every_distance_between_dimensions(word_table):
    scores = principal_word_embeddings(word_table, 12)
    torch.testing.assert_close(torch.cdist(scores, scores), torch.cdist(word_table.T, word_table.T), atol=1e-3, rtol=0)


def test_the_published_orientation_is_ours(shared):
    published = torch.from_numpy(np.load(shared / "gpt2_tokenizer" / "wte_pca_500.npy"))
    assert published.shape == (768, 500)
    torch.testing.assert_close(published.mean(0), torch.zeros(500), atol=1e-4, rtol=0)
    spread = published.square().sum(0)
    assert (spread[:-1] >= spread[1:] * 0.999).all()


def test_the_golden_components_are_reproduced_up_to_sign(shared):
    golden = np.load(shared / "golden" / "calf_small_a.npz")
    expected = torch.from_numpy(golden["word_embedding"])
    scores = principal_word_embeddings(torch.from_numpy(golden["wte"]), expected.shape[1])
    signs = torch.sign((scores * expected).sum(0))
    torch.testing.assert_close(scores * signs, expected, atol=1e-4, rtol=1e-4)


def test_a_second_run_reads_what_the_first_one_computed(word_table, tmp_path):
    first = cached_word_embeddings(word_table, 5, llm_sha256="a" * 64, directory=tmp_path)
    (path,) = tmp_path.iterdir()
    assert "a" * 16 in path.name
    torch.testing.assert_close(load_file(path)["scores"], first)
    other = cached_word_embeddings(word_table, 5, llm_sha256="b" * 64, directory=tmp_path)
    torch.testing.assert_close(other, first)
    assert len(list(tmp_path.iterdir())) == 2


def foreign(path: Path) -> bytes:
    """The file of another language model."""
    generator = torch.Generator().manual_seed(1)
    folder = path.parent / "other"
    cached_word_embeddings(torch.randn(60, 12, generator=generator), 5, llm_sha256="b" * 64, directory=folder)
    (other,) = folder.iterdir()
    return other.read_bytes()


def one_bit(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    return bytes(content)


def other_numbers(path: Path) -> bytes:
    """The scores in a kind of number that numpy lacks."""
    return save({"scores": load_file(path)["scores"].bfloat16()}, metadata={"sha256": "0"})


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"no safetensors", one_bit, foreign, other_numbers])
def test_a_cache_file_that_is_damaged_or_of_another_model_is_named_and_computed_again(
    word_table, tmp_path, caplog, damage
):
    first = cached_word_embeddings(word_table, 5, llm_sha256="a" * 64, directory=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path))
    again = cached_word_embeddings(word_table, 5, llm_sha256="a" * 64, directory=tmp_path)
    assert torch.equal(again, first)
    assert f"{path} is damaged" in caplog.text
    caplog.clear()
    assert torch.equal(cached_word_embeddings(word_table, 5, llm_sha256="a" * 64, directory=tmp_path), first)
    assert not caplog.text


def test_the_number_of_threads_does_not_matter():
    found, table = [], torch.randn(3000, 96, generator=torch.Generator().manual_seed(0))
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(principal_word_embeddings(table, 9))
    assert torch.equal(*found)


def test_more_components_than_the_word_table_has_is_an_error(word_table):
    with pytest.raises(ValueError, match="--num_components must be at most 12, the width of --llm_model, got 13"):
        principal_word_embeddings(word_table, 13)
    with pytest.raises(ValueError, match="--num_components must be at most 8, the vocabulary of --llm_model, got 9"):
        principal_word_embeddings(word_table[:8], 9)


def test_the_cache_follows_xdg_cache_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory().parent == tmp_path
