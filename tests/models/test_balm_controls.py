"""BALM's controls: what each one reads in place of the language model's states of a row's own text."""

from typing import Any

import pytest
import torch

from layers.prompt import TYPICAL
from layers.statistics import RowStatistics
from layers.text_encoder import TextEncoder
from models.balm import BALM, BALMConfig
from models.base import ForecastSpec
from tests.models.small_balm import forecast, small_balm, walks

PLAIN: dict[str, Any] = {"learnable_prompt": False}


def encoder_of(model: BALM) -> TextEncoder:
    assert isinstance(model.text_encoder, TextEncoder)
    return model.text_encoder


@pytest.mark.parametrize("text_branch", ["numbers", "mlp", "words", "constant", "permuted"])
def test_a_control_forecasts_a_row_alone_as_in_a_batch_and_has_the_same_head(text_branch):
    model, rows = small_balm(text_branch=text_branch, **PLAIN).eval(), walks()
    whole = forecast(model, rows)
    alone = torch.cat([forecast(model, row[None]) for row in rows])
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-5)
    published = small_balm(**PLAIN)
    assert {n: p.shape for n, p in model.head.named_parameters()} == {
        n: p.shape for n, p in published.head.named_parameters()
    }


def test_numbers_are_the_prompts_nine_statistics_and_nothing_else():
    model, rows = small_balm(text_branch="numbers", prompt_digits=2, **PLAIN).eval(), walks()
    vector = model.prompt_inputs(rows)["prompt_vector"]
    found = RowStatistics.of(rows[:, :, 0])
    expected = [
        *(column.round(decimals=2) for column in (found.minimum, found.maximum, found.median)),
        torch.where(found.upward, 1.0, -1.0),
        *(found.lags / rows.shape[1]).T,
    ]
    torch.testing.assert_close(vector, torch.stack(expected, dim=1), rtol=0, atol=0)
    assert not any("llm" in name for name, _ in model.named_parameters())
    assert model.fingerprint() == {}


def test_mlp_reads_the_window_without_its_level_and_size():
    model, rows = small_balm(text_branch="mlp", **PLAIN).eval(), walks()
    first, second = (model.prompt_inputs(each)["prompt_vector"] for each in (rows, 3 * rows + 5))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    assert first.shape == rows.shape[:2]


def test_mlp_at_the_verdicts_sizes_trains_five_percent_more_than_balm_with_a_fixed_text():
    """SmolLM2 is 576 wide; without the LLM's own weights, which are frozen."""
    spec = ForecastSpec(seq_len=512, pred_len=96, num_channels=7)
    config = BALMConfig(text_branch="mlp", learnable_prompt=False, prompt_digits=2)  # pyright: ignore[reportCallIssue]
    model = BALM(config, spec, None, width=576)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert model.text_encoder is not None
    branch = sum(p.numel() for p in model.text_encoder.parameters())
    # As docs/verdict/results.csv has them.
    assert (trained, branch, trained - branch) == (1_002_625, 48_096, 954_529)


def test_words_are_the_running_means_of_the_word_embeddings():
    model, rows = small_balm(text_branch="words", **PLAIN).eval(), walks()
    inputs, encoder = model.prompt_inputs(rows), encoder_of(model)
    states = encoder.states(**inputs)
    for row, ids, length in zip(states, inputs["prompt_ids"].long(), inputs["prompt_lengths"].tolist(), strict=True):
        words = encoder.backbone.embed(ids[None, :length])[0]
        torch.testing.assert_close(row[-1], words.mean(dim=0))
        torch.testing.assert_close(row[0], words[: length - len(row) + 1].mean(dim=0))
    assert encoder.features_are_constant
    assert not any(".h." in name for name, _ in model.named_parameters())


def test_constant_gives_every_row_the_states_of_the_same_text():
    model, rows = small_balm(text_branch="constant", **PLAIN).eval(), walks()
    inputs = model.prompt_inputs(rows)
    encoder = encoder_of(model)
    assert encoder.writer.tokenizer.decode(inputs["prompt_ids"][0].tolist()) == TYPICAL
    states = encoder.states(**inputs)
    torch.testing.assert_close(states, states[:1].expand_as(states), rtol=0, atol=0)
    published = encoder_of(small_balm(**PLAIN).eval())
    torch.testing.assert_close(states, published.states(**inputs), rtol=1e-5, atol=1e-6)


def test_only_the_permuted_control_asks_for_permuted_prompts():
    assert [small_balm(text_branch=name).permutes_prompts for name in ("llm", "shuffled", "permuted")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("text_branch", ["numbers", "mlp", "words", "permuted", "constant"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_every_control_trains_with_and_without_the_alignment_loss(text_branch, weight):
    model, rows = small_balm(text_branch=text_branch, alignment_weight=weight, **PLAIN).train(), walks()
    found = model(rows, **model.prompt_inputs(rows))
    assert set(found.auxiliary_losses) == ({"alignment"} if weight else set())
    torch.stack([found.values.square().mean(), *found.auxiliary_losses.values()]).sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("text_encoder.") for name in trained) == (text_branch in ("numbers", "mlp"))
