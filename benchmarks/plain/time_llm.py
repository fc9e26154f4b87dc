"""Plain implementation of Time-LLM as published: prompt and patches in one pass, for the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plain.balm import use_published_gelu
from models.base import ForecastSpec
from models.time_llm import TimeLLM, TimeLLMConfig

if TYPE_CHECKING:
    from benchmarks.cases import CaseConfig


def build(config: CaseConfig, way: str, spec: ForecastSpec) -> TimeLLM:
    """Time-LLM of a way.

    As published, a row's padded prompt and its patches go through the language model together, with a graph for all of
    them, transformers' own GELU and, but for `plain_without_dropout`, its dropout.
    """
    from benchmarks.cases import llm_settings

    published = {"prompt_padding": "published", "llm_dropout": way == "plain", "published_description": True}
    settings = TimeLLMConfig(
        **llm_settings(config), d_ff=min(128, config.llm_width), **(published if way.startswith("plain") else {})
    )
    model = TimeLLM.build(settings, spec)
    if way.startswith("plain"):
        use_published_gelu(model.backbone.model)
    return model
