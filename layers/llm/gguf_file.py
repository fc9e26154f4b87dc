"""Language models in a `.gguf` file: dequantised once, then kept as safetensors in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel

from layers.llm.families import FAMILIES, NAMES, model_class
from layers.llm.quiet import quiet_transformers
from layers.llm.user_cache import cache_directory


def converted(path: Path) -> tuple[Path, int | None]:
    """Directory with the dequantised model of `path`, and the bits of its rounded weights (None if not rounded).

    The first call takes about 20 s for a model of 135 million parameters. ValueError with one line if the file is
    damaged or holds a model that is not supported.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    directory = cache_directory() / f"gguf_{digest[:16]}"
    if not (directory / "rounding.json").is_file():
        try:
            _convert(path, directory)
        except ImportError as error:
            raise ValueError(f"--llm_model {path} needs the package gguf: `pip install gguf`") from error
    return directory, json.loads((directory / "rounding.json").read_text())["bits"]


def _convert(path: Path, directory: Path) -> None:
    import gguf

    # Written beside, then renamed: a process that dies in between leaves no half model.
    beside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        types = Counter(tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors)
        found, _ = PreTrainedConfig.get_config_dict(path.parent, gguf_file=path.name)
        if found.get("model_type") not in FAMILIES:
            raise ValueError(f"it holds a {found.get('model_type')!r}; supported are {NAMES}")
        beside.mkdir(parents=True, exist_ok=True)
        _save(path, beside)
        (beside / "rounding.json").write_text(json.dumps({"bits": _bits(types.most_common(1)[0][0])}))
        shutil.rmtree(directory, ignore_errors=True)
        beside.rename(directory)
    except ImportError:
        raise
    except Exception as error:  # gguf and transformers raise nearly everything for a damaged file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"--llm_model {path} cannot be read as a language model: {reason}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _save(path: Path, directory: Path) -> None:
    """Save the dequantised model, its config and its tokenizer."""
    from transformers import AutoConfig

    with quiet_transformers():
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
        kind: type[PreTrainedModel] = model_class(config)
        model: Any = kind.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    # Dequantised weights are ordinary ones, but transformers refuses to save them as such.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        delattr(model.config, "quantization_config")
    model.save_pretrained(directory)
    tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))


def _bits(kind: str) -> int | None:
    """Bits of a GGUF tensor type: 4 of Q4_1, None of F16."""
    found = re.match(r"I?Q(\d)", kind)
    return int(found[1]) if found else None
