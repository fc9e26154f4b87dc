"""Time-LLM has as many parameters as the paper and the published model say."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel, PreTrainedModel

from layers.backbones import Backbone
from layers.llm.tokenizer import byte_level_tokenizer
from models.base import ForecastSpec
from models.time_llm import TimeLLM, TimeLLMConfig


def on_meta(config: TimeLLMConfig, spec: ForecastSpec, llm: PreTrainedModel) -> TimeLLM:
    with torch.device("meta"):
        frozen = llm.requires_grad_(False)
        return TimeLLM(config, spec, Backbone(frozen, byte_level_tokenizer(), {"name": "meta"}))


def gpt2(num_blocks: int = 6) -> PreTrainedModel:
    with torch.device("meta"):
        return GPT2Model(GPT2Config(n_layer=num_blocks))


@pytest.mark.parametrize(
    ("d_model", "d_ff", "pred_len", "trainable"),
    [
        (32, 128, 96, 53_441_968),
        (32, 128, 192, 54_228_496),
        (32, 128, 336, 55_408_288),
        (32, 128, 720, 58_554_400),
        (16, 32, 96, 51_050_928),
        (16, 32, 720, 52_329_504),
        (16, 128, 720, 58_537_248),
        (32, 32, 96, 51_055_792),
    ],
)
def test_parameters_with_six_blocks_of_gpt2_are_those_of_the_paper(d_model, d_ff, pred_len, trainable):
    spec = ForecastSpec(seq_len=512, pred_len=pred_len, num_channels=7)
    counts = on_meta(TimeLLMConfig(d_model=d_model, d_ff=d_ff), spec, gpt2()).count_parameters()
    assert counts["trainable"] == trainable
    assert counts["total"] == trainable + 81_912_576


def test_parameters_with_llama_7b_are_those_of_the_published_model():
    with torch.device("meta"):
        llama = LlamaModel(LlamaConfig())
    counts = on_meta(TimeLLMConfig(), ForecastSpec(seq_len=512, pred_len=96, num_channels=7), llama).count_parameters()
    assert (counts["trainable"], counts["total"]) == (45_411_912, 6_652_755_528)
