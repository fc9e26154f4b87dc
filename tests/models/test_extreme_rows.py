"""Rows that no series should have are still forecast as finite numbers, by every model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from models import MODELS, model_class
from models.base import Forecaster, ForecastSpec

SEQ_LEN, PRED_LEN, CHANNELS = 96, 24, 3
TINY = {
    "llm_model": "random", "llm_layers": 1, "llm_width": 48, "llm_heads": 4, "d_ff": 16, "d_model": 16, "n_heads": 2,
    "num_components": 16,
}  # fmt: skip


def rows() -> torch.Tensor:
    """Windows that are constant, huge, tiny, alternating, or flat with a single spike."""
    base = torch.randn(8, SEQ_LEN, CHANNELS, generator=torch.Generator().manual_seed(0))
    base[0], base[1], base[2] = 0, 5, 1e30
    base[3] = 1e30 * (-1.0) ** torch.arange(SEQ_LEN)[:, None]
    base[4] = 0
    base[4, 50] = 1e30
    base[5] *= 1e30
    base[6] *= 1e-30
    return base


def calendar(model: Forecaster, num_rows: int) -> dict[str, torch.Tensor]:
    """Time features for a model that reads some."""
    return {"time_features": torch.zeros(num_rows, SEQ_LEN + PRED_LEN, 4)} if model.needs_time_features else {}


def prompts(model: Forecaster, look_back: torch.Tensor) -> dict[str, torch.Tensor]:
    """Prompt inputs, with the rows themselves for what they are in original units."""
    original = {"original": look_back.double(), "times": torch.zeros(look_back.shape[:2], dtype=torch.int64)}
    return model.prompt_inputs(look_back, **(original if model.prompts_read_original else {}))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_and_extreme_rows_are_forecast_as_finite_numbers(name, dtype, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cls = model_class(name)
    known = {field.name for field in dataclasses.fields(cls.Config)}
    config = cls.Config(**{flag: value for flag, value in TINY.items() if flag in known})
    torch.manual_seed(0)
    spec = ForecastSpec(seq_len=SEQ_LEN, pred_len=PRED_LEN, num_channels=CHANNELS, season_length=24, dtype=dtype)
    model = cls.build(config, spec).eval()
    look_back = rows().transpose(1, 2).reshape(-1, SEQ_LEN, 1) if model.channel_independent else rows()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        forecast = model(look_back, **prompts(model, look_back), **calendar(model, len(look_back))).values
    assert forecast.isfinite().all()
