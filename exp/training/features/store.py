"""Store on disk of what a frozen language model says of a text, shared by runs, seeds and processes."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)
DIGEST_BYTES = 16
DIGESTS, FACTS = "digests", "facts.json"
# Folders of the store, and what lies in them: parts, whole or being written.
NAME, PARTS = r"[0-9a-f]{24}", ("part-", ".")
# numpy has no bfloat16, so its bits are stored as integers.
STORED_AS = {torch.bfloat16: torch.int16}


class TextStore:
    """Features of texts in `root`, in a folder for what they depend on besides the text (`identity`).

    Features are written in parts, each a folder that appears whole or not at all: it is written under another name and
    renamed. So a killed process leaves no half part, and several processes may write at once; a text that two of them
    read is stored twice, with either's features used from then on. Parts whose checksums are wrong are left out.
    Arrays are memory-mapped. `max_bytes` bounds the whole of `root`: folders unused for longest make room, and what
    does not fit is not stored.
    """

    def __init__(self, root: Path | str, identity: Mapping[str, Any], *, max_bytes: int) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.root, self.max_bytes = Path(root), max_bytes
        self.folder = self.root / hashlib.sha256(text.encode()).hexdigest()[:24]
        self._parts: list[dict[str, np.ndarray]] = []
        self._dtypes: dict[str, torch.dtype] = {}
        self._places: dict[bytes, tuple[int, int]] = {}
        if self.folder.is_dir():
            self.folder.touch()
            for part in sorted(self.folder.glob("part-*")):
                self._open(part)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, digests: Sequence[bytes]) -> dict[str, Tensor]:
        """The features of texts that are all in the store, in this order."""
        places = [self._places[digest] for digest in digests]
        result = {}
        for name, dtype in self._dtypes.items():
            rows = np.stack([self._parts[part][name][row] for part, row in places])
            result[name] = torch.from_numpy(rows).view(dtype)
        return result

    def write(self, digests: Sequence[bytes], features: Mapping[str, Tensor]) -> None:
        """Store the features of texts, one row each."""
        arrays = {name: _as_array(tensor) for name, tensor in features.items()}
        arrays[DIGESTS] = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        if not self._make_room(sum(array.nbytes for array in arrays.values())):
            return
        number = uuid.uuid4().hex
        beside, part = self.folder / f".{number}", self.folder / f"part-{number}"
        beside.mkdir(parents=True)
        try:
            for name, array in arrays.items():
                array.tofile(beside / f"{name}.bin")
            facts = {
                "dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in features.items()},
                "arrays": {name: [str(array.dtype), *array.shape] for name, array in arrays.items()},
                "checksums": {name: _checksum(array) for name, array in arrays.items()},
            }
            (beside / FACTS).write_text(json.dumps(facts))
            beside.rename(part)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            logger.warning("--text_store %s: %s; texts read from here on are not stored", self.root, error)
            self.max_bytes = 0
            return
        self._open(part)

    def _open(self, part: Path) -> None:
        """Add a part to the index; one that is damaged is left out and read again by the language model."""
        try:
            facts = json.loads((part / FACTS).read_text())
            arrays: dict[str, np.ndarray] = {
                name: np.memmap(part / f"{name}.bin", dtype=dtype, mode="r", shape=tuple(shape))
                for name, (dtype, *shape) in facts["arrays"].items()
            }
            if any(_checksum(arrays[name]) != checksum for name, checksum in facts["checksums"].items()):
                raise ValueError("wrong checksum")
            dtypes = {name: getattr(torch, dtype) for name, dtype in facts["dtypes"].items()}
            digests = arrays.pop(DIGESTS)
            if set(arrays) != set(dtypes) or {len(array) for array in arrays.values()} != {len(digests)}:
                raise ValueError("its arrays do not belong together")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("--text_store: %s is damaged (%s) and not used", part, error)
            return
        self._dtypes = dtypes
        self._parts.append(arrays)
        for row, digest in enumerate(digests):
            self._places.setdefault(digest.tobytes(), (len(self._parts) - 1, row))

    def _make_room(self, num_bytes: int) -> bool:
        """Whether there is room for `num_bytes`, after other folders have made way if need be."""
        used = {folder: _size(folder) for folder in self.root.glob("*") if _is_ours(folder)}
        others = sorted((folder for folder in used if folder != self.folder), key=lambda folder: folder.stat().st_mtime)
        while sum(used.values()) + num_bytes > self.max_bytes and others:
            oldest = others.pop(0)
            shutil.rmtree(oldest, ignore_errors=True)
            del used[oldest]
        if sum(used.values()) + num_bytes <= self.max_bytes:
            return True
        logger.warning("--text_store %s is full: raise --text_store_gb to store further texts", self.root)
        self.max_bytes = 0
        return False


def _as_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.view(STORED_AS.get(tensor.dtype, tensor.dtype)).numpy()


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder of the store, which may lie among others: nothing else is ever counted or removed."""
    if folder.is_symlink() or not folder.is_dir() or not re.fullmatch(NAME, folder.name):
        return False
    return all(part.is_dir() and part.name.startswith(PARTS) for part in folder.iterdir())


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
