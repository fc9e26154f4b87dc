"""Principal word embeddings, which CALF's match module attends to: computed once and cached on disk."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch import Tensor

logger = logging.getLogger(__name__)
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
    # With another number of threads the solver's sums round differently, which its iterations carry to 1e-4.
    with threadpool_limits(limits=1):
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
    """`principal_word_embeddings`, cached in `directory` under the LLM's hash.

    The file carries a SHA-256 of what it is and holds; one that does not fit is named, and computed and written again.
    Where the cache cannot be written, they are computed each time, with a line in the log.
    """
    path = directory / f"word_components_{llm_sha256[:16]}_{num_components}_{random_state}.safetensors"
    if path.exists():
        found = _read(path, shape=(word_table.shape[1], num_components))
        if found is not None:
            return found
        logger.warning("%s is damaged, or was written before such files had a hash: it is computed again", path)
    scores = principal_word_embeddings(word_table, num_components, random_state=random_state)
    try:
        _write(path, scores)
    except (OSError, SafetensorError) as error:
        logger.warning("%s cannot be written (%s): word components are computed again in each run", path, error)
    return scores


def _write(path: Path, scores: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # A link of this name would be written through.
        beside.unlink(missing_ok=True)
        save_file({"scores": scores}, beside, metadata={"sha256": _sha256(path.name, scores)})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, *, shape: tuple[int, int]) -> Tensor | None:
    """The scores in the file, or None if they are damaged or belong under another name."""
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportArgumentType]
            sha256, scores = (file.metadata() or {}).get("sha256"), file.get_tensor("scores")
        return scores if scores.shape == shape and sha256 == _sha256(path.name, scores) else None
    except (SafetensorError, OSError, TypeError):  # TypeError: numbers of a kind that numpy lacks
        return None


def _sha256(name: str, scores: Tensor) -> str:
    """Digest of the file's name, which says whose components these are, and of the scores."""
    digest = hashlib.sha256(f"{name} {scores.dtype} {list(scores.shape)}\n".encode())
    digest.update(scores.contiguous().numpy().tobytes())
    return digest.hexdigest()
