"""What every test can ask for; shapes and types written in our signatures are checked while the tests run."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401  (the hook names it, but imports only its package)

install_import_hook(["data_provider", "layers", "models", "exp", "utils"], "tests.typechecker.checked")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real benchmark files, golden files and tokenizer beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not here")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny tensors are slower on many threads, and sums over a fixed number of threads do not vary."""
    import torch

    torch.set_num_threads(1)
