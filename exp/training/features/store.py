"""Store on disk of what a frozen language model says of a text, shared by runs, seeds and processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.files import PART, DamagedFile, remove_abandoned_parts

logger = logging.getLogger(__name__)
FORMAT = 2
DIGEST_BYTES = 16
DIGESTS = "digests"
SUFFIX = ".safetensors"
# Folders of the store, and what lies in them: parts, whole or being written; in format 1 a part was a folder.
NAME = r"[0-9a-f]{24}"
PARTS = re.compile(rf"\.?part-[0-9a-f]{{32}}({re.escape(SUFFIX)}(\..*{re.escape(PART)})?)?|\.[0-9a-f]{{32}}")


class TextStore:
    """Features of texts in `root`, in a folder for what they depend on besides the text (`identity`).

    Features are written in parts, each a file that appears whole or not at all. So a killed process leaves no half
    part, and several processes may write at once; a text that two of them read is stored twice, with either's features
    used from then on. A part carries a SHA-256 over its tensors and its identity; one that is damaged, or was written
    for another identity, is named and left out. Tensors are memory-mapped. `max_bytes` bounds the whole of `root`:
    folders unused for longest make room, and what does not fit is not stored. Processes that write at the same moment
    may exceed it by a part each.
    """

    def __init__(self, root: Path | str, identity: Mapping[str, Any], *, max_bytes: int) -> None:
        text = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
        self.root, self.max_bytes = Path(root), max_bytes
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        self.folder = self.root / self.identity[:24]
        self._parts: list[dict[str, Tensor]] = []
        self._seen: set[Path] = set()
        self._places: dict[bytes, tuple[int, int]] = {}
        if self.folder.is_symlink():
            self._stop(f"{self.folder} is a link, and links are not followed")
        elif self.folder.is_dir():
            with contextlib.suppress(OSError):  # another process may be removing it, to make room
                os.utime(self.folder)
                remove_abandoned_parts(self.folder)
            self.look_again()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, digests: Sequence[bytes]) -> dict[str, Tensor]:
        """The features of texts that are all in the store, in this order."""
        places = [self._places[digest] for digest in digests]
        return {name: torch.stack([self._parts[part][name][row] for part, row in places]) for name in self._parts[0]}

    def look_again(self) -> None:
        """Add the parts that other processes have written since."""
        with contextlib.suppress(OSError):  # another process may be removing the folder, to make room
            for part in sorted(self.folder.glob(f"part-*{SUFFIX}")):
                if part not in self._seen:
                    self._open(part)

    def write(self, digests: Sequence[bytes], features: Mapping[str, Tensor]) -> None:
        """Store the features of texts, one row each."""
        table = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, DIGEST_BYTES)
        tensors = {**features, DIGESTS: table}
        if not self.max_bytes or not self._make_room(sum(tensor.nbytes for tensor in tensors.values())):
            return
        part = self.folder / f"part-{uuid.uuid4().hex}{SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(part, tensors, {"identity": self.identity})
        except OSError as error:
            # Another process may have removed the folder to make room; a full disk is something else.
            if self.folder.is_dir():
                self._stop(str(error))
            return
        self._open(part)

    def _stop(self, reason: str) -> None:
        logger.warning("--text_store %s: %s; texts read from here on are not stored", self.root, reason)
        self.max_bytes = 0

    def _open(self, part: Path) -> None:
        """Add a part to the index; one that is damaged is left out and read again by the language model."""
        self._seen.add(part)
        try:
            tensors, header = load_checkpoint(part, needs_hash=True)
            if header.get("identity") != self.identity:
                raise DamagedFile(f"{part} was written for another language model or other flags")
            digests = tensors.pop(DIGESTS, torch.empty(0))
            is_table = digests.dtype == torch.uint8 and digests.ndim == 2 and digests.shape[1] == DIGEST_BYTES
            if not is_table or any(not tensor.ndim or len(tensor) != len(digests) for tensor in tensors.values()):
                raise DamagedFile(f"{part} does not hold one row of features for each text")
            if self._parts and _kinds(tensors) != _kinds(self._parts[0]):
                raise DamagedFile(f"{part} holds other features than the parts beside it")
        except OSError as error:
            logger.warning("--text_store: %s is damaged (%s) and not used", part, error)
            return
        self._parts.append(tensors)
        for row, digest in enumerate(digests.numpy()):
            self._places.setdefault(digest.tobytes(), (len(self._parts) - 1, row))

    def _make_room(self, num_bytes: int) -> bool:
        """Whether there is room for `num_bytes`, after other folders have made way if need be."""
        if _size(self.folder) + num_bytes > self.max_bytes:
            # Other folders would make room for nothing.
            self._stop("it is full: raise --text_store_gb")
            return False
        used = {folder: _size(folder) for folder in self.root.glob("*") if folder == self.folder or _is_ours(folder)}
        others = sorted((folder for folder in used if folder != self.folder), key=_last_used)
        while sum(used.values()) + num_bytes > self.max_bytes and others:
            oldest = others.pop(0)
            shutil.rmtree(oldest, ignore_errors=True)
            del used[oldest]
        if sum(used.values()) + num_bytes <= self.max_bytes:
            return True
        self._stop("it is full: raise --text_store_gb")
        return False


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    """Name -> type and shape of a row."""
    return {name: (tensor.dtype, *tensor.shape[1:]) for name, tensor in tensors.items()}


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder of the store, which may lie among others: nothing else is ever counted or removed."""
    if folder.is_symlink() or not folder.is_dir() or not re.fullmatch(NAME, folder.name):
        return False
    try:
        return all(PARTS.fullmatch(part.name) for part in folder.iterdir())
    except OSError:  # another process has removed it
        return False


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another process renames and removes files
                total += (Path(place) / name).lstat().st_size
    return total
