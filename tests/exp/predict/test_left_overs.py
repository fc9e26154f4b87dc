"""Hidden folders of killed predictions are swept by the next one; those of live ones are kept."""

from __future__ import annotations

import os

from tests.exp.small_runs import predict
from utils.files import owner_mark


def test_hidden_folders_of_dead_predictions_are_swept(place, fit, tmp_path):
    host = owner_mark().partition("-")[0]
    dead, alive = tmp_path / f".forecast-{host}-{2**22 + 5}.x", tmp_path / f".forecast-{host}-{os.getppid()}.x"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "half.csv").touch()
    assert predict(fit, place / "my.csv", tmp_path / "f.csv") == 0
    assert not dead.exists() and alive.exists()
