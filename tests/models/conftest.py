"""The stand-in checkout that tests of the door to Time-Series-Library import."""

from pathlib import Path

import pytest

from tests.models.small_tslib import FILES


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "Time-Series-Library"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "wandb" / "run-1").mkdir(parents=True)
    return root
