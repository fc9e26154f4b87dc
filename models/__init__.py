"""Model registry: names to classes, imported on demand."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.base import Forecaster

MODELS: dict[str, str] = {
    "BALM": "models.balm:BALM",
    "CALF": "models.calf:CALF",
    "TimeLLM": "models.time_llm:TimeLLM",
    "TimeCMA": "models.time_cma:TimeCMA",
    "LastValue": "models.last_value:LastValue",
    "SeasonalNaive": "models.seasonal_naive:SeasonalNaive",
    "DLinear": "models.dlinear:DLinear",
    "NLinear": "models.nlinear:NLinear",
    "PatchTST": "models.patchtst:PatchTST",
    "iTransformer": "models.itransformer:ITransformer",
    "PAttn": "models.pattn:PAttn",
    "GPT4TS": "models.gpt4ts:GPT4TS",
    "TimesNet": "models.timesnet:TimesNet",
    "UniTime": "models.unitime:UniTime",
}
TSLIB_PREFIX = "tslib:"


def model_class(name: str) -> type[Forecaster]:
    """Class of the model `name` (`tslib:NAME` for one of Time-Series-Library); ValueError if unknown."""
    if name.startswith(TSLIB_PREFIX):
        return importlib.import_module("models.tslib").tslib_model_class(name.removeprefix(TSLIB_PREFIX))
    if name not in MODELS:
        raise ValueError(f"--model {name} is unknown; {_nearest_names(name)}")
    module, _, attribute = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _nearest_names(name: str) -> str:
    lower_names = {known.lower(): known for known in MODELS}
    nearest = [lower_names[match] for match in difflib.get_close_matches(name.lower(), lower_names, n=3, cutoff=0.5)]
    ours = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose one of {', '.join(MODELS)}"
    return f"{ours} Or, for one of Time-Series-Library: --model {TSLIB_PREFIX}{name} --tslib_path ITS_CHECKOUT"
