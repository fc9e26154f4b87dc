"""The models of the benchmarks with real batches: each way to do a training step or an inference batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.hf_argparser import HfArg

from benchmarks.plain_balm import PlainBALM
from benchmarks.plain_calf import PlainCALF
from benchmarks.timing import Work
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider
from data_provider.demo import synthetic_table
from data_provider.series import load_series
from data_provider.windows import Batch
from layers.backbone_loading import RANDOM, LLMConfig
from models.balm import BALM, BALMConfig
from models.base import Forecaster, ForecastSpec
from models.calf import CALF, CALFConfig
from utils.losses import LOSSES

NUM_BATCHES = 4
SEED = 2021
ROUNDED_DIGITS = 2
# What BALM's ways set apart from their precision.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"compat_official": True},
    "plain_without_dropout": {"compat_official": True},
    "frozen_prompt": {"freeze_prompt_after": 0},
    "frozen_after_1": {"freeze_prompt_after": 1},
    "rounded_prompt": {"prompt_digits": ROUNDED_DIGITS},
}


@dataclass(frozen=True)
class CaseConfig:
    """Which model does which work."""

    model: Literal["BALM", "CALF"] = HfArg(default="BALM", help="The model to time")
    data: str = HfArg(default="demo", help="Data set whose training rows are read")
    root_path: str = HfArg(default="dataset", help="Folder under which the data files lie")
    seq_len: int = HfArg(default=512, help="Look-back window, in time steps")
    pred_len: int = HfArg(default=96, help="Horizon, in time steps")
    batch_size: int = HfArg(default=24, help="Rows per step (windows for CALF)")
    llm_layers: int = HfArg(default=6, help="Number of GPT-2 blocks")
    llm_width: int = HfArg(default=768, help="Width of the random GPT-2")
    llm_heads: int = HfArg(default=12, help="Attention heads of the random GPT-2")
    llm_tokenizer: str | None = HfArg(
        default=None, help="Directory with GPT-2's vocab.json and merges.txt; default: one made by rule"
    )
    device: Literal["cpu", "cuda"] = HfArg(default="cpu", help="Where to compute")


def data_config(config: CaseConfig) -> DataConfig:
    """Which rows are read."""
    return DataConfig(data=config.data, root_path=config.root_path, seq_len=config.seq_len, pred_len=config.pred_len)


def synthetic_data(config: CaseConfig, place: Path, num_rows: int, num_channels: int) -> DataConfig:
    """A table of another shape by the rule of the demo set, written below `place`."""
    columns = [str(index) for index in range(num_channels - 1)] + ["OT"]
    path = place / f"{num_rows}x{num_channels}.parquet"
    synthetic_table(num_rows, columns=columns, seed=SEED).to_parquet(path)
    return DataConfig(data="custom", data_path=str(path), seq_len=config.seq_len, pred_len=config.pred_len)


def batches_of(config: CaseConfig, model: Forecaster) -> list[Batch]:
    """Training batches with the row constants that `model` declares."""
    data = data_config(config)
    has_constants = type(model).prompt_inputs is not Forecaster.prompt_inputs
    _, loader = data_provider(
        load_series(data),
        "train",
        config=data,
        channel_independent=model.channel_independent,
        batch_size=config.batch_size,
        seed=SEED,
        device=config.device,
        constants=model.prompt_inputs if has_constants else None,
    )
    return [batch for batch, _ in zip(loader, range(NUM_BATCHES), strict=False)]


def spec_of(config: CaseConfig, dtype: torch.dtype) -> ForecastSpec:
    """The task's shape; demo and ETT have seven channels."""
    return ForecastSpec(seq_len=config.seq_len, pred_len=config.pred_len, num_channels=7, season_length=24, dtype=dtype)


def build(config: CaseConfig, way: str) -> Forecaster:
    """The model of a way: one of `SETTINGS`, or ours in float32 (`fp32`) or bfloat16 (`bf16`)."""
    torch.manual_seed(SEED)
    dtype = torch.bfloat16 if way == "bf16" else torch.float32
    llm: dict[str, Any] = {
        "llm_model": RANDOM,
        "llm_layers": config.llm_layers,
        "llm_tokenizer": config.llm_tokenizer,
        "llm_width": config.llm_width,
        "llm_heads": config.llm_heads,
    }
    assert set(llm) <= set(LLMConfig.__dataclass_fields__)
    if config.model == "CALF":
        kind = PlainCALF if way == "plain" else CALF
        settings = CALFConfig(**llm, num_components=min(500, config.llm_width))
        calf = kind.build(settings, spec_of(config, dtype))
        if isinstance(calf, PlainCALF):
            calf.use_published_modules()
        return calf.to(config.device)
    plain = way.startswith("plain")
    settings = BALMConfig(**llm, d_ff=min(128, config.llm_width), **SETTINGS.get(way, {}))
    balm = (PlainBALM if plain else BALM).build(settings, spec_of(config, dtype))
    if isinstance(balm, PlainBALM):
        balm.llm_drops_out = way == "plain"
    return balm.to(config.device)


def training_step(config: CaseConfig, way: str) -> Work:
    """A step with forward, losses, backward and Adam on the next batch; in plain ways it makes its prompts itself."""
    model = build(config, way).train()
    batches = batches_of(config, model)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-4))
    inputs = _inputs_by_batch(model, batches, way)
    following = cycle(zip(batches, inputs, strict=True))
    loss_name = model.default_loss

    def step() -> Tensor:
        batch, make_inputs = next(following)
        with _autocast(config, way):
            forecast = model(batch.look_back, **make_inputs())
        losses = [LOSSES[loss_name](forecast.values.float(), batch.target), *forecast.auxiliary_losses.values()]
        loss = torch.stack([value.float() for value in losses]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def inference_batch(config: CaseConfig, way: str) -> Work:
    """A forecast of the next batch in evaluation mode."""
    model = build(config, way).eval()
    batches = batches_of(config, model)
    following = cycle(zip(batches, _inputs_by_batch(model, batches, way), strict=True))

    @torch.no_grad()
    def infer() -> Tensor:
        batch, make_inputs = next(following)
        with _autocast(config, way):
            return model(batch.look_back, **make_inputs()).values

    return infer


def _inputs_by_batch(model: Forecaster, batches: list[Batch], way: str) -> list[Callable[[], dict[str, Tensor]]]:
    """How each batch gets what its rows need: made in the step (plain), or once before (ours)."""
    if not batches[0].constants:
        return [dict for _ in batches]
    if way.startswith("plain"):
        device = batches[0].look_back.device

        def made_now(batch: Batch) -> Callable[[], dict[str, Tensor]]:
            def make() -> dict[str, Tensor]:
                return {name: value.to(device) for name, value in model.prompt_inputs(batch.look_back.cpu()).items()}

            return make

        return [made_now(batch) for batch in batches]
    with torch.no_grad():
        kept = [
            model.cached_features(**batch.constants) if model.features_are_constant else batch.constants
            for batch in batches
        ]
    return [lambda found=found: copy.copy(found) for found in kept]


def _autocast(config: CaseConfig, way: str) -> torch.autocast:
    return torch.autocast(config.device, torch.bfloat16, enabled=way == "bf16")
