"""Principal word embeddings, which CALF's match module attends to: computed once and cached on disk."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from torch import Tensor

RANDOM_STATE = 2021


def principal_word_embeddings(
    word_table: Float[Tensor, "word width"], num_components: int, *, random_state: int = RANDOM_STATE
) -> Float[Tensor, "width {num_components}"]:
    """PCA scores of the transposed token embedding matrix: dimensions are samples, words features (CALF section 3.1).

    `random_state` is fixed because scikit-learn uses a randomised solver for matrices as large as GPT-2's. Raises
    ValueError if the matrix has fewer dimensions or words than components.
    """
    num_words, width = word_table.shape
    if num_components > width:
        raise ValueError(f"--num_components must be at most {width}, the width of --llm_model, got {num_components}")
    if num_components > num_words:
        raise ValueError(
            f"--num_components must be at most {num_words}, the vocabulary of --llm_model, got {num_components}"
        )
    pca = PCA(n_components=num_components, random_state=random_state)
    scores = pca.fit_transform(word_table.detach().float().cpu().numpy().T)
    return torch.from_numpy(scores).float().contiguous()


def cached_word_embeddings(
    word_table: Float[Tensor, "word width"],
    num_components: int,
    *,
    llm_sha256: str,
    directory: Path,
    random_state: int = RANDOM_STATE,
) -> Float[Tensor, "width {num_components}"]:
    """`principal_word_embeddings`, cached in `directory` under the LLM's hash; ValueError if the file is damaged."""
    path = directory / f"word_components_{llm_sha256[:16]}_{num_components}_{random_state}.safetensors"
    if path.exists():
        return _read(path, shape=(word_table.shape[1], num_components))
    scores = principal_word_embeddings(word_table, num_components, random_state=random_state)
    directory.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file({"scores": scores}, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return scores


def _read(path: Path, *, shape: tuple[int, int]) -> Tensor:
    way_out = "delete it and it will be computed again"
    try:
        scores = load_file(path).get("scores")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): {way_out}") from error
    if scores is None or scores.shape != shape:
        found = None if scores is None else list(scores.shape)
        raise ValueError(f"{path} must hold scores of shape {list(shape)}, found {found}: {way_out}")
    return scores
