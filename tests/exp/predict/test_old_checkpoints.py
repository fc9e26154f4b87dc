"""Checkpoints written before format 2 forecast as they did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import save_file

from exp.predict.forecaster import load_forecaster
from tests.exp.runs import flags, run_folder, run_here
from utils.checkpoint import load_checkpoint

NAMES_OF_FORMAT_1 = {"text_encoder.learnable_prompt": "learnable_prompt"}


def rewrite_as_format_1(path: Path) -> None:
    """The same content under the names of format 1, without a content hash."""
    tensors, header = load_checkpoint(path)
    header |= {"format": 1, "model_identity": header.pop("backbone_fingerprint")}
    old: dict[str, Any] = {}
    for name, tensor in tensors.items():
        part, _, parameter = name.partition("/")
        old[f"{part}/{NAMES_OF_FORMAT_1.get(parameter, parameter)}"] = tensor
    save_file(old, path, metadata={"json": json.dumps(header)})


@pytest.mark.parametrize("model", ["DLinear", "BALM"])
def test_a_checkpoint_of_format_1_gives_the_same_forecast(tmp_path, model):
    assert run_here(flags(tmp_path, "--fast_dev_run", model=model)) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    expected = load_forecaster(run_folder(tmp_path), device="cpu").predict(table)
    rewrite_as_format_1(run_folder(tmp_path) / "checkpoint" / "best.safetensors")
    pd.testing.assert_frame_equal(load_forecaster(run_folder(tmp_path), device="cpu").predict(table), expected)
