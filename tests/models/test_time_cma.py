"""TimeCMA: texts kept and read anew agree, controls do what they say, and the parameters are those of the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from layers.backbones import Backbone
from layers.llm.tokenizer import byte_level_tokenizer
from layers.time_cma.prompt import decimals_of, published_step, step_in_words
from models.base import ForecastSpec
from models.time_cma import TimeCMA, TimeCMAConfig
from tests.layers.llm.small_models import TOKENIZER, small_model

CHANNELS = 3
SHAPE = ForecastSpec(
    seq_len=12, pred_len=4, num_channels=CHANNELS, data="ETTh1", channel_scales=(20.0, 3.0, 0.04), time_step="h"
)
SMALL: dict[str, Any] = {
    "llm_model": "random",
    "llm_layers": 2,
    "llm_width": 16,
    "llm_heads": 2,
    "d_model": 8,
    "n_heads": 2,
    "feed_forward": 12,
    "d_ff": 6,
    "dropout": 0.0,
}
BERT = BertConfig(
    vocab_size=TOKENIZER.get_vocab_size(),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
)


def small(spec: ForecastSpec = SHAPE, **flags: Any) -> TimeCMA:
    torch.manual_seed(0)
    return TimeCMA.build(TimeCMAConfig(**{**SMALL, **flags}), spec)


def originals(num_rows: int = 4, seq_len: int = 12) -> tuple[Tensor, Tensor]:
    """Windows in original units and their hourly dates."""
    noise = torch.randn(num_rows, seq_len, CHANNELS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dates = pd.date_range("2016-07-01", periods=num_rows + seq_len, freq="h").as_unit("ns").asi8
    times = torch.from_numpy(np.stack([dates[row : row + seq_len] for row in range(num_rows)]))
    return noise.cumsum(dim=1) * torch.tensor([20.0, 3.0, 0.04], dtype=torch.float64), times


def inputs_of(model: TimeCMA, rows: slice = slice(None)) -> tuple[Tensor, dict[str, Tensor]]:
    original, times = originals()
    scaled = (original / torch.tensor([20.0, 3.0, 0.04])).float()[rows]
    return scaled, model.prompt_inputs(scaled, original[rows], times[rows])


def test_a_kept_text_gives_the_forecast_of_one_read_anew():
    model = small().eval()
    look_back, inputs = inputs_of(model)
    kept = model.cached_features(**inputs)
    assert kept["prompt_states"].shape == (4, CHANNELS, 16)
    assert model.features_are_constant
    assert torch.equal(model(look_back, **kept).values, model(look_back, **inputs).values)


def test_a_window_is_forecast_the_same_alone_and_in_a_batch():
    model = small().eval()
    look_back, inputs = inputs_of(model)
    assert len(set(inputs["prompt_lengths"].flatten().tolist())) > 1
    together = model(look_back, **inputs).values
    for row in range(4):
        alone, own = inputs_of(model, slice(row, row + 1))
        torch.testing.assert_close(model(alone, **own).values[0], together[row], atol=1e-5, rtol=1e-5)


def test_reading_texts_in_several_parts_changes_nothing(monkeypatch):
    model = small().eval()
    look_back, inputs = inputs_of(model)
    together = model(look_back, **inputs).values
    monkeypatch.setattr("layers.time_cma.text.TOKENS_AT_ONCE", 200)
    torch.testing.assert_close(model(look_back, **inputs).values, together, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_another_family_reads_a_text_the_same_alone_and_in_a_batch(kind):
    llm = small_model("llama") if kind == "llama" else BertModel(BERT, add_pooling_layer=False).eval()
    llm.config.max_position_embeddings = 512
    model = TimeCMA(TimeCMAConfig(**SMALL), SHAPE, Backbone(llm, TOKENIZER, {"name": kind})).eval()
    original, times = originals()
    states = model.cached_features(**model.prompt_inputs(original.float(), original, times))["prompt_states"]
    alone = model.cached_features(**model.prompt_inputs(original[:1].float(), original[:1], times[:1]))
    torch.testing.assert_close(alone["prompt_states"], states[:1], atol=1e-4, rtol=1e-4)


def test_the_text_is_what_the_data_say():
    model = small()
    assert model.writer is not None
    original, times = originals(1)
    original[0, :, 0], original[0, :, 1] = torch.linspace(-0.4, 10.6, 12), torch.linspace(1.0, 2.1, 12)
    first, second, third = model.writer.texts(original, times)
    assert first == (
        "From 01/07/2016 00:00 to 01/07/2016 11:00, the values were 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 every hour. "
        "The total trend value was 11.000000"
    )
    assert "were 1.00, 1.10, 1.20" in second
    original[0, 3, 0] = -1.5e30
    assert "0, 1, 2, -1.5e+30, 4" in model.writer.texts(original, times)[0]
    assert ", 0.0" in third or ", -0.0" in third


def test_published_values_are_cut_towards_zero_and_equal_ends_can_have_a_negative_zero_trend():
    published = small(compat_official=True).writer
    ours = small().writer
    assert published is not None and ours is not None
    original, times = originals(200)
    original[:, -1] = original[:, 0]
    original[:, 0] = original[:, -1]
    texts = published.texts(original, times)
    assert any(text.endswith("was -0.000000") for text in texts)
    assert all(text.endswith("was 0.000000") for text in ours.texts(original, times))
    original[0, :, 0] = -0.9
    assert "were 0, 0, 0" in published.texts(original, times)[0]


@pytest.mark.parametrize(
    ("time_step", "expected"),
    [
        ("h", ("hour", " %H:00")),
        ("15min", ("15 minutes", " %H:%M")),
        ("10min", ("10 minutes", " %H:%M")),
        ("D", ("day", "")),
        ("7D", ("week", "")),
        ("W-SUN", ("week", "")),
        ("MS", ("month", "")),
        ("3h", ("3 hours", " %H:00")),
    ],
)
def test_a_step_is_called_by_its_name(time_step, expected):
    assert step_in_words(time_step) == expected


def test_the_published_code_takes_what_it_does_not_know_for_monthly():
    assert published_step("Exchange") == ("month", " %H:%M")


def test_decimals_follow_the_training_deviation():
    assert decimals_of((250.0, 10.0, 3.0, 0.04), None) == (0, 0, 2, 4)
    assert decimals_of((250.0, 0.04), 1) == (1, 1)


def test_the_prompt_has_the_last_values_and_their_dates():
    model = small(prompt_len=3)
    assert model.writer is not None
    (text, *_) = model.writer.texts(*originals(1))
    assert text.startswith("From 01/07/2016 09:00 to 01/07/2016 11:00")
    assert text.split(" every ")[0].count(",") == 3


def test_look_back_512_reads_the_last_96_values_or_is_refused_with_two_ways_out():
    spec = replace(SHAPE, seq_len=512)
    model = small(spec)
    assert model.writer is not None and model.writer.num_values == 96
    expected = (
        r"a prompt of 512 values needs at least 1,0\d\d tokens, but --llm_model random has 1,024 positions: give "
    )
    expected += r"--prompt_len 96 \(the last values of the look-back\), or --seq_len 96 as published"
    for flags in ({"compat_official": True}, {"prompt_len": 512}):
        with pytest.raises(ValueError, match=expected) as refused:
            small(spec, **flags)
        assert "\n" not in str(refused.value)
    assert small(spec, compat_official=True, prompt_len=96).writer is not None


@pytest.mark.parametrize("text_branch", ["llm", "random_llm", "shuffled", "none", "constant"])
def test_a_control_reads_the_text_that_it_says(text_branch):
    model = small(text_branch=text_branch).eval()
    look_back, inputs = inputs_of(model)
    if text_branch in ("none", "constant"):
        assert inputs == {} and not model.features_are_constant
    else:
        before = model(look_back, **inputs).values
        other = {name: value.clone() for name, value in inputs.items()}
        other["prompt_ids"][1, 5] = 7
        changed = (model(look_back, **other).values - before).abs().amax(dim=(1, 2)) > 1e-7
        reader = 3 if text_branch == "shuffled" else 1
        assert changed.nonzero().flatten().tolist() == [reader]
    assert model(look_back, **inputs).values.shape == (4, 4, CHANNELS)
    assert (model.reader is None) == (text_branch == "none")


def test_without_text_there_is_no_language_model_and_no_text_branch():
    names = {name.split(".")[0] for name, _ in small(text_branch="none").named_parameters()}
    assert names == {"embedding", "time_encoder", "retrieval", "decoder", "head"}


def test_everything_but_the_language_model_is_trained_with_decoupled_weight_decay_and_clipped_gradients():
    model = small().train()
    (group,) = model.parameter_groups(1e-2)
    assert group["weight_decay"] == 1e-3 and group["decoupled_weight_decay"] and model.max_gradient_norm == 5.0
    adam = torch.optim.Adam([group])
    look_back, inputs = inputs_of(model)
    (model(look_back, **inputs).values * 1e3).square().mean().backward()
    assert torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0) > 5.0
    twin = small().train()
    twin.load_state_dict(model.state_dict())
    for ours, its in zip(model.parameters(), twin.parameters(), strict=True):
        its.grad = None if ours.grad is None else ours.grad.clone()
    adam_w = torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=1e-2, weight_decay=1e-3)
    adam.step()
    adam_w.step()
    for (name, ours), its in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, its, msg=name)
        assert ours.requires_grad != name.startswith("reader.")


def trainable_at(seq_len: int, *, width: int, layers: tuple[int, int]) -> int:
    config = TimeCMAConfig(d_model=width, e_layers=layers[0], d_layers=layers[1])
    with torch.device("meta"):
        llm = GPT2Model(GPT2Config()).requires_grad_(False)
        model = TimeCMA(
            config,
            replace(SHAPE, seq_len=seq_len, pred_len=96, num_channels=7, channel_scales=(1.0,) * 7),
            Backbone(llm, byte_level_tokenizer(), {"name": "meta"}),
        )
    counts = model.count_parameters()
    assert counts["total"] - counts["trainable"] == 124_439_808  # the whole of GPT-2
    return counts["trainable"]


@pytest.mark.parametrize(
    ("seq_len", "layers", "used", "published"),
    [
        (512, (2, 2), 12_225_924, 18_318_980),
        (96, (1, 2), 6_404_164, 12_497_220),
        (512, (1, 2), 6_430_788, 12_523_844),
    ],
)
def test_trained_parameters_are_those_of_the_paper(seq_len, layers, used, published):
    """The published count has a constant scale and, for each stack, a layer that is never used."""
    trained = trainable_at(seq_len, width=64, layers=layers)
    assert trained + 1 == used
    time_layer, text_layer, decoder_layer = 281_152, 5_513_984, 297_920
    assert used + time_layer + text_layer + decoder_layer == published


def test_one_channel_is_refused():
    with pytest.raises(ValueError, match="TimeCMA normalises over channels and --data has one"):
        small(replace(SHAPE, num_channels=1, channel_scales=(1.0,)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"prompt_len": 13}, "--prompt_len must be at most --seq_len 12, got 13"),
        ({"prompt_len": 1}, "--prompt_len must be at least 2, got 1"),
        ({"n_heads": 3}, "--d_model must be a positive multiple of --n_heads"),
        ({"n_heads": 8, "llm_width": 20}, "--n_heads must divide the LLM's width 20, got 8"),
        ({"prompt_digits": 2, "compat_official": True}, "--prompt_digits has no effect on a published prompt"),
        ({"max_norm": -1.0}, "--max_norm must be at least 0"),
    ],
)
def test_impossible_settings_are_refused_by_their_flag(flags, message):
    with pytest.raises(ValueError, match=message):
        small(**flags)
