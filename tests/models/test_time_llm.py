"""Time-LLM: what is kept changes nothing, rows stand alone, and the parameters are those of the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from transformers import BertConfig, BertModel

from layers.backbones import Backbone
from layers.llm.tokenizer import token_ids
from layers.statistics import RowStatistics
from layers.time_llm.prompt import TaskPromptWriter
from models.base import ForecastSpec
from models.time_llm import TimeLLM, TimeLLMConfig
from tests.layers.llm.small_models import TOKENIZER, small_model

SHAPE = ForecastSpec(
    seq_len=48, pred_len=12, num_channels=1, description="Loads of a transformer.", published_description="ETT."
)
SMALL: dict[str, Any] = {
    "llm_model": "random",
    "llm_layers": 2,
    "llm_width": 16,
    "llm_heads": 2,
    "d_model": 4,
    "d_ff": 8,
    "n_heads": 2,
    "num_prototypes": 10,
}
BERT = BertConfig(
    vocab_size=TOKENIZER.get_vocab_size(),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
)


def small(spec: ForecastSpec = SHAPE, **flags: Any) -> TimeLLM:
    torch.manual_seed(0)
    return TimeLLM.build(TimeLLMConfig(**{**SMALL, **flags}), spec)


def walks(num_rows: int = 5, seq_len: int = 48) -> Tensor:
    return torch.randn(num_rows, seq_len, 1, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)


def in_one_pass(model: TimeLLM, rows: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """The forecast with prompt and patches in one pass through the language model."""
    reader = model.reader
    kept = type(reader).keeps_prompts
    try:
        type(reader).keeps_prompts = property(lambda _: False)  # pyright: ignore[reportAttributeAccessIssue]
        return model(rows, **inputs).values
    finally:
        type(reader).keeps_prompts = kept  # pyright: ignore[reportAttributeAccessIssue]


def gradients(model: TimeLLM, values: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    values.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_kept_prompts_give_the_forecast_and_gradients_of_one_pass():
    model, rows = small(dropout=0.0).double().train(), walks().double()
    inputs = model.prompt_inputs(rows.float())
    assert len(set(inputs["prompt_lengths"].tolist())) > 1
    kept = model.cached_features(**inputs)
    assert not any(value.requires_grad for value in kept.values())
    plain = in_one_pass(model, rows, inputs)
    expected = gradients(model, plain)
    assert set(expected) == {name for name, p in model.named_parameters() if p.requires_grad}
    for given in (inputs, kept):
        values = model(rows, **given).values
        torch.testing.assert_close(values, plain, atol=1e-9, rtol=1e-9)
        found = gradients(model, values)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-9, rtol=1e-7, msg=name)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_another_family_forecasts_a_row_the_same_alone_and_in_a_batch(kind):
    llm = small_model("llama") if kind == "llama" else BertModel(BERT, add_pooling_layer=False).eval()
    llm.config.max_position_embeddings = 512
    model = TimeLLM(TimeLLMConfig(**SMALL), SHAPE, Backbone(llm, TOKENIZER, {"name": kind})).eval()
    assert model.features_are_constant == (kind == "llama")
    rows, inputs = walks(), model.prompt_inputs(walks())
    together = model(rows, **inputs).values
    for row in range(len(rows)):
        alone = rows[row : row + 1]
        torch.testing.assert_close(
            model(alone, **model.prompt_inputs(alone)).values[0], together[row], atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(in_one_pass(model, rows, inputs), together, atol=1e-5, rtol=1e-4)


def test_published_padding_makes_a_row_depend_on_its_batch_and_keeps_nothing():
    model = small(prompt_padding="published").eval()
    rows = walks()
    together = model(rows, **model.prompt_inputs(rows)).values
    lengths = model.prompt_inputs(rows)["prompt_lengths"]
    shortest = int(lengths.argmin())
    alone = rows[shortest : shortest + 1]
    assert not torch.allclose(model(alone, **model.prompt_inputs(alone)).values[0], together[shortest], atol=1e-5)
    assert not model.features_are_constant


def test_the_language_model_drops_out_in_training_only_where_the_published_code_does():
    rows = walks()
    for varies in (False, True):
        model = small(dropout=0.0, llm_dropout=varies).train()
        inputs = model.prompt_inputs(rows)
        first, second = model(rows, **inputs).values, model(rows, **inputs).values
        assert torch.equal(first, second) != varies
        assert not model.reader.llm.training
        assert model.features_are_constant != varies


def test_prototypes_are_computed_once_between_updates_and_anew_after_one(monkeypatch):
    model, rows = small().eval(), walks()
    inputs, calls = model.prompt_inputs(rows), []
    forward = model.prototypes.forward
    monkeypatch.setattr(model.prototypes, "forward", lambda words: calls.append(1) or forward(words))
    with torch.no_grad():
        before = model(rows, **inputs).values
        model(rows, **inputs)
        assert len(calls) == 1
        model.prototypes.mixture.weight.mul_(2)
        assert not torch.allclose(model(rows, **inputs).values, before)
    assert len(calls) == 2


def test_the_common_beginning_is_read_once_and_anew_when_the_language_model_changes(monkeypatch):
    model, rows = small().eval(), walks()
    inputs, calls = model.prompt_inputs(rows), []
    reader = model.reader
    read = Backbone.read_prefix
    monkeypatch.setattr(Backbone, "read_prefix", lambda self, prefix: calls.append(len(prefix)) or read(self, prefix))
    before = model(rows, **inputs).values
    model(rows, **inputs)
    assert calls == [len(reader.writer.common_ids)]
    with torch.no_grad():
        next(iter(reader.llm.parameters())).mul_(1.5)
    assert not torch.allclose(model(rows, **inputs).values, before)
    assert len(calls) == 2


def test_kept_prompts_in_bfloat16_are_half_as_large_and_close():
    exact, rounded, rows = small().eval(), small(text_state_dtype="bf16").eval(), walks()
    inputs = exact.prompt_inputs(rows)
    kept = [model.cached_features(**inputs) for model in (exact, rounded)]
    sizes = [value["prompt_keys_values"].element_size() for value in kept]
    assert sizes == [4, 2]
    forecasts = [model(rows, **features).values for model, features in zip((exact, rounded), kept, strict=True)]
    torch.testing.assert_close(forecasts[1], forecasts[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_a_constant_row_has_a_prompt_and_a_finite_forecast(level):
    model, rows = small().eval(), walks()
    rows[0] = level
    inputs = model.prompt_inputs(rows)
    assert model(rows, **inputs).values.isfinite().all()
    text = model.reader.writer.tokenizer.decode(inputs["prompt_ids"][0].tolist()[: int(inputs["prompt_lengths"][0])])
    assert "min value 0.0, max value 0.0, median value 0.0, the trend of input is downward" in text


def test_the_trend_of_a_row_that_ends_where_it_began_is_downward():
    """The published float32 sum of differences says upward for some of them."""
    rows = walks(200)[:, :, 0]
    rows[:, -1] = rows[:, 0]
    ours, published = (RowStatistics.of(rows, float32=float32).upward for float32 in (False, True))
    assert not ours.any()
    assert published.any()


def test_the_published_lags_of_an_odd_look_back_come_from_one_position_fewer():
    rows = walks(3, 49)[:, :, 0]
    normalised = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    spectrum = torch.fft.rfft(normalised)
    published = torch.fft.irfft(spectrum * spectrum.conj()).topk(5).indices
    lags = RowStatistics.of(rows, all_lags=True, float32=True, even_lags=True).lags
    assert [sorted(min(lag, 48 - lag) for lag in row) for row in lags.tolist()] == [
        sorted(min(lag, 48 - lag) for lag in row) for row in published.tolist()
    ]


def test_the_description_is_the_data_sets_own_the_published_one_or_the_flags():
    texts = {
        name: small(**flags).reader.writer.description
        for name, flags in {
            "own": {},
            "published": {"compat_official": True},
            "flag": {"description": "Rain."},
        }.items()
    }
    assert texts == {"own": SHAPE.description, "published": "ETT.", "flag": "Rain."}


@pytest.mark.shared
def test_real_prompts_have_the_published_length_and_55_common_tokens(shared):
    from data_provider.datasets import DATASETS
    from layers.llm.tokenizer import find_tokenizer

    tokenizer = find_tokenizer(shared / "gpt2_tokenizer", flag="--llm_tokenizer")
    description = DATASETS["ETTh1"].published_description
    writer = TaskPromptWriter(tokenizer, description, seq_len=512, pred_len=96, all_lags=True, float32=True)
    assert len(writer.common_ids) == 55
    assert tokenizer.decode(writer.common_ids).endswith("Input statistics: min value")
    lengths = writer.tokens(walks(50, 512)[:, :, 0])[1]
    assert int(lengths.min()) >= 119 and int(lengths.max()) <= 132


def test_the_checkpoint_holds_what_is_trained_and_restores_the_forecast():
    model, other, rows = small(), small(), walks()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    assert {name.split(".")[0] for name in model.saved_state()} == {
        "patch_embedding",
        "prototypes",
        "reprogramming",
        "head",
    }
    inputs = model.prompt_inputs(rows)
    other.eval()(rows, **inputs)
    other.load_saved_state(model.saved_state())
    assert torch.equal(model.eval()(rows, **inputs).values, other(rows, **inputs).values)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"d_ff": 17}, "--d_ff must be at most the LLM's width 16, got 17"),
        ({"num_prototypes": 0}, "--num_prototypes must be at least 1, got 0"),
        ({"dropout": 1.0}, "--dropout must be in 0..1"),
        ({"description": "x", "compat_official": True}, "--description has no effect"),
    ],
)
def test_impossible_settings_are_refused_by_their_flag(flags, message):
    with pytest.raises(ValueError, match=message):
        small(**flags)


def test_a_row_that_does_not_fit_the_language_models_positions_is_refused():
    backbone = Backbone(small_model("gpt2"), Tokenizer(BPE()), {"name": "short"})
    with pytest.raises(ValueError, match="short has 96 positions, but a row needs 0 for its prompt and 100 for its"):
        TimeLLM(TimeLLMConfig(**SMALL), replace(SHAPE, seq_len=800), backbone)


def test_every_prompt_of_real_rows_begins_with_the_common_tokens():
    writer = small().reader.writer
    rows = walks(30)[:, :, 0] * torch.logspace(-6, 6, 30)[:, None]
    for text in writer.texts(RowStatistics.of(rows)):
        assert token_ids(writer.tokenizer, [text])[0][: len(writer.common_ids)] == writer.common_ids
