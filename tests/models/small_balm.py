"""A BALM of the smallest sizes, and rows for it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GPT2Model

from models.balm import BALM, BALMConfig
from models.base import ForecastSpec

SHAPE = ForecastSpec(seq_len=48, pred_len=24, num_channels=1)
SMALL = {"llm_model": "random", "llm_layers": 2, "llm_width": 16, "llm_heads": 2, "d_model": 4, "d_ff": 8}


def small_balm(spec: ForecastSpec = SHAPE, seed: int = 0, **flags: Any) -> BALM:
    torch.manual_seed(seed)
    return BALM.build(BALMConfig(**{**SMALL, **flags}), spec)


def backbone_of(model: BALM) -> GPT2Model:
    assert model.backbone is not None and isinstance(model.backbone.model, GPT2Model)
    return model.backbone.model


def walks(num_rows: int = 4, seq_len: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, seq_len, 1, generator=generator).cumsum(dim=1)


def forecast(model: BALM, rows: torch.Tensor) -> torch.Tensor:
    return model(rows, **model.prompt_inputs(rows)).values
