"""Benchmark cases: each variant ("way") of a model's training step or inference batch, on real batches."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.hf_argparser import HfArg

from benchmarks.measuring.timing import Work
from benchmarks.plain import time_cma as plain_time_cma
from benchmarks.plain import time_llm as plain_time_llm
from benchmarks.plain import timesnet as plain_timesnet
from benchmarks.plain import unitime as plain_unitime
from benchmarks.plain.balm import PlainBALM
from benchmarks.plain.calf import PlainCALF
from data_provider.batches.loader import Loader
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider, load_series
from data_provider.demo import synthetic_table
from data_provider.windows import Batch
from exp.training.graphs import GraphedForward
from exp.training.spec import forecast_spec
from exp.training.step import TrainingStep, loss_of
from layers.llm.loading import RANDOM, LLMConfig, llm_width
from layers.text_encoder import TextEncoder
from models.balm import BALM, BALMConfig
from models.base import Forecast, Forecaster, ForecastSpec
from models.calf import CALF, CALFConfig

NUM_BATCHES = 4
SEED = 2021
ROUNDED_DIGITS = 2
# Settings of BALM by way; precision is set by the way itself.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"compat_official": True},
    "plain_without_dropout": {"compat_official": True},
    "frozen_prompt": {"freeze_prompt_after": 0},
    "frozen_after_1": {"freeze_prompt_after": 1},
    "rounded_prompt": {"prompt_digits": ROUNDED_DIGITS},
}


@dataclass(frozen=True)
class CaseConfig:
    """Model, data and sizes of a benchmark."""

    model: Literal["BALM", "CALF", "TimesNet", "UniTime", "TimeLLM", "TimeCMA"] = HfArg(
        default="BALM", help="Model to measure"
    )
    data: str = HfArg(default="demo", help="Data set whose training split is used")
    root_path: str = HfArg(default="dataset", help="Folder of the data files")
    seq_len: int = HfArg(default=512, help="Look-back window, in time steps")
    pred_len: int = HfArg(default=96, help="Horizon, in time steps")
    batch_size: int = HfArg(default=24, help="Rows per step (windows for CALF, TimesNet and TimeCMA)")
    d_model: int = HfArg(default=16, help="TimesNet's width of a time step")
    d_ff: int = HfArg(default=32, help="TimesNet's number of images between two convolutions")
    trained_steps: int = HfArg(default=0, help="Train TimesNet for so many steps before it is measured")
    llm_model: str = HfArg(default=RANDOM, help="Language model, as for run.py; `random`: a GPT-2 of the sizes below")
    llm_layers: int = HfArg(default=6, help="Number of LLM blocks")
    llm_width: int = HfArg(default=768, help="Width of the random GPT-2")
    llm_heads: int = HfArg(default=12, help="Attention heads of the random GPT-2")
    llm_tokenizer: str | None = HfArg(
        default=None, help="Directory with GPT-2's vocab.json and merges.txt; default: the built-in tokenizer"
    )
    device: Literal["cpu", "cuda"] = HfArg(default="cpu", help="Device")
    prompts: Literal["as_trained", "inside", "outside"] = HfArg(
        default="as_trained",
        help="Whether making the prompts counts: inside or outside every way's step, or as each way trains (the "
        "published code inside, ours outside)",
    )


def data_config(config: CaseConfig) -> DataConfig:
    """Data settings of the benchmark."""
    return DataConfig(data=config.data, root_path=config.root_path, seq_len=config.seq_len, pred_len=config.pred_len)


def synthetic_data(config: CaseConfig, place: Path, num_rows: int, num_channels: int) -> DataConfig:
    """Write a table of the given shape in `place`, made by the demo set's generator."""
    columns = [str(index) for index in range(num_channels - 1)] + ["OT"]
    path = place / f"{num_rows}x{num_channels}.parquet"
    synthetic_table(num_rows, columns=columns, seed=SEED).to_parquet(path)
    return DataConfig(data="custom", data_path=str(path), seq_len=config.seq_len, pred_len=config.pred_len)


def loader_of(config: CaseConfig, model: Forecaster) -> Loader:
    """Training loader with the model's prompt inputs."""
    data = data_config(config)
    _, loader = data_provider(
        load_series(data),
        "train",
        config=data,
        channel_independent=model.channel_independent,
        batch_size=config.batch_size,
        seed=SEED,
        device=config.device,
        prompt_inputs=model.prompt_inputs if model.has_prompt_inputs else None,
        needs_time_features=model.needs_time_features,
        prompts_read_original=model.prompts_read_original,
    )
    return loader


def batches_of(config: CaseConfig, model: Forecaster) -> list[Batch]:
    """First training batches with their prompt inputs."""
    return list(loader_of(config, model).first_steps(NUM_BATCHES))


def spec_of(config: CaseConfig, dtype: torch.dtype) -> ForecastSpec:
    """Forecast spec of the data set."""
    series = load_series(data_config(config))
    seq_len, pred_len = config.seq_len, config.pred_len
    return forecast_spec(series, seq_len=seq_len, pred_len=pred_len, dtype=dtype, device=torch.device(config.device))


def build(config: CaseConfig, way: str) -> Forecaster:
    """Build the model of a way: as published, ours in float32 (`fp32`) or bfloat16 (`bf16`), or one between them."""
    torch.manual_seed(SEED)
    dtype = torch.bfloat16 if way.endswith("bf16") else torch.float32
    makers = {
        "BALM": _build_balm,
        "CALF": _build_calf,
        "TimesNet": plain_timesnet.build,
        "UniTime": plain_unitime.build,
        "TimeLLM": plain_time_llm.build,
        "TimeCMA": plain_time_cma.build,
    }
    return makers[config.model](config, way, spec_of(config, dtype)).to(config.device)


def llm_settings(config: CaseConfig) -> dict[str, Any]:
    """Settings of the language model."""
    llm: dict[str, Any] = {
        "llm_model": config.llm_model,
        "llm_layers": config.llm_layers,
        "llm_tokenizer": config.llm_tokenizer,
    }
    if config.llm_model == RANDOM:
        llm |= {"llm_width": config.llm_width, "llm_heads": config.llm_heads}
    assert set(llm) <= set(LLMConfig.__dataclass_fields__)
    return llm


def width_of(config: CaseConfig) -> int:
    """Width of the language model."""
    return llm_width(LLMConfig(**llm_settings(config)))


def _build_calf(config: CaseConfig, way: str, spec: ForecastSpec) -> CALF:
    kind = PlainCALF if way == "plain" else CALF
    settings = CALFConfig(**llm_settings(config), num_components=min(500, width_of(config)))
    calf = kind.build(settings, spec)
    if isinstance(calf, PlainCALF):
        calf.use_published_modules()
    return calf


def _build_balm(config: CaseConfig, way: str, spec: ForecastSpec) -> BALM:
    plain = way.startswith("plain")
    settings = BALMConfig(**llm_settings(config), d_ff=min(128, width_of(config)), **_settings_of(way))
    balm = (PlainBALM if plain else BALM).build(settings, spec)
    if isinstance(balm, PlainBALM):
        balm.llm_drops_out = way == "plain"
    assert isinstance(balm.text_encoder, TextEncoder)
    if way.startswith("packed"):
        balm.text_encoder.pack()
    if way.startswith("transformers"):
        balm.text_encoder.packed_gpt2 = None
    if "compiled" in way:
        # A CPU only tries the command: its compiler would take longer than all that is measured.
        backend = {"backend": "eager"} if config.device == "cpu" else {}
        if plain:
            balm.compile(**backend)
        else:
            balm.text_encoder.compile_block(**backend)
    return balm


def _settings_of(way: str) -> dict[str, Any]:
    return SETTINGS.get(way.removesuffix("_bf16").removesuffix("_compiled"), {})


def training_step(config: CaseConfig, way: str) -> Work:
    """Training step with Adam on the next batch; in plain ways it includes making the prompts."""
    model = build(config, way).train()
    batches = batches_of(config, model)
    step = step_of(model, config, way)
    following = cycle(_with_inputs(config, model, batches, way))
    return lambda: step(next(following)())


def step_of(model: Forecaster, config: CaseConfig, way: str) -> TrainingStep:
    """Training step of `model` with Adam."""
    return TrainingStep(
        model,
        torch.optim.Adam(model.parameter_groups(1e-4), fused=True if config.device == "cuda" else None),
        loss_of(model),
        forward=_forward(config, model, way),
        keep_targets=lambda values: values,
    )


def inference_batch(config: CaseConfig, way: str, *, from_graphs: bool = False) -> Work:
    """Forecast of the next batch in evaluation mode, replayed from CUDA graphs if wanted."""
    model = build(config, way).eval()
    forward = _forward(config, model, way)
    if from_graphs:
        forward = GraphedForward(forward, config.batch_size)
    following = cycle(_with_inputs(config, model, batches_of(config, model), way))

    @torch.no_grad()
    def infer() -> Tensor:
        batch = next(following)()
        return forward(batch.look_back, **batch.inputs).values

    return infer


def _with_inputs(config: CaseConfig, model: Forecaster, batches: list[Batch], way: str) -> list[Callable[[], Batch]]:
    """Functions that return each batch with its prompt inputs, made in the step or once before (`--prompts`)."""

    def with_prompts_made_now(batch: Batch) -> Batch:
        assert not model.prompts_read_original
        made = model.prompt_inputs(batch.look_back.cpu())
        return replace(batch, inputs={name: value.to(batch.look_back.device) for name, value in made.items()})

    kept = way.startswith(("kept", "frozen")) and model.features_are_constant
    inside = config.prompts == "inside" or (config.prompts == "as_trained" and way.startswith("plain"))
    if inside and not kept and model.has_prompt_inputs and not model.prompts_read_original:
        return [partial(with_prompts_made_now, batch) for batch in batches]
    if kept:
        with torch.no_grad():
            batches = [replace(batch, inputs=model.cached_features(**batch.inputs)) for batch in batches]
    return [partial(copy, batch) for batch in batches]


def _forward(config: CaseConfig, model: Forecaster, way: str) -> Callable[..., Forecast]:
    """Forward of `model` in the precision of `way`."""

    def forward(look_back: Tensor, **inputs: Tensor) -> Forecast:
        with torch.autocast(config.device, torch.bfloat16, enabled=way.endswith("bf16")):
            return model(look_back, **inputs)

    return forward
