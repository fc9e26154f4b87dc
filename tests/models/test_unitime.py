"""UniTime: parameters by the published counts, the loss over look-back and horizon, the instruction read once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from data_provider.datasets import DATASETS
from data_provider.windows import Batch
from exp.training.step import TrainingStep
from layers.backbones import Backbone
from layers.llm.tokenizer import find_tokenizer, token_ids
from layers.unitime.masking import draw_mask, masked_statistics
from models.base import ForecastSpec
from models.unitime import UniTime, UniTimeConfig

SEQ_LEN, PRED_LEN = 40, 8
TEXT = "a b"
GPT2_WORDS, GPT2_WIDTH = 50_257, 768


def build(*, tasks: list[ForecastSpec] | None = None, strides: list[int] | None = None, **settings: Any) -> UniTime:
    torch.manual_seed(0)
    sizes = {"llm_model": "random", "llm_layers": 2, "llm_width": 16, "llm_heads": 2, **settings}
    spec = ForecastSpec(SEQ_LEN, PRED_LEN, 1, instruction=TEXT)
    return UniTime.build_joint(UniTimeConfig(**sizes), tasks or [spec], strides)


def rows(num_rows: int = 3, seq_len: int = SEQ_LEN) -> Tensor:
    return torch.randn(num_rows, seq_len, 1, generator=torch.Generator().manual_seed(1)).cumsum(dim=1)


def meta_model(seq_len: int, pred_len: int, config: UniTimeConfig) -> UniTime:
    """The model at its published size without memory, with an instruction of eleven different words."""
    with torch.device("meta"):
        gpt2 = GPT2Model(GPT2Config(n_layer=6))
        backbone = Backbone(gpt2.requires_grad_(False), Tokenizer(BPE()), {"name": "gpt2"})
        spec = ForecastSpec(seq_len, pred_len, 7)
        return UniTime(config, [spec], backbone, instructions=[list(range(11))])


@pytest.mark.parametrize(
    ("seq_len", "pred_len", "settings", "published"),
    [
        (96, 720, {"compat_official": True, "max_token_num": 17}, 108_541_488),
        (512, 96, {"compat_official": True}, 117_966_176),
        (512, 720, {"compat_official": True}, 138_573_776),
        (512, 96, {}, 117_965_408),
        (512, 720, {}, 138_573_008),
    ],
)
def test_parameters_and_the_words_that_are_never_read_are_the_published_number(seq_len, pred_len, settings, published):
    model = meta_model(seq_len, pred_len, UniTimeConfig(**settings))
    never_read = (GPT2_WORDS - 11) * GPT2_WIDTH
    counts = model.count_parameters()
    assert counts["trainable"] + never_read == counts["total"] + never_read == published


def test_parts_have_the_published_number_of_parameters():
    model = meta_model(96, 720, UniTimeConfig(compat_official=True, max_token_num=17))
    count = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_children()}
    values = sum(p.numel() for p in model.embedding.values.parameters())
    assert values == 13_056
    assert count["embedding"] - values == 1_784_832
    assert (count["decoder"], count["head"]) == (14_175_744, 10_654_512)
    assert model.pad_token is not None and model.pad_token.numel() == 768


def test_the_other_tunings_train_norms_and_positions_or_nothing_of_the_llm():
    for config, expected in ((UniTimeConfig(tuning="fpt"), 806_400), (UniTimeConfig(tuning="freeze"), 0)):
        model = meta_model(96, 96, config)
        assert sum(p.numel() for p in model.reader.parameters() if p.requires_grad) == expected


def test_without_masks_only_the_first_map_of_the_embedding_exists():
    model = build(mask_rate=0.0)
    assert {name for name, _ in model.embedding.named_parameters()} == {"values.weight", "values.bias"}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("data", "num_tokens"),
    [
        ("ETTh1", 11),
        ("ETTh2", 11),
        ("ETTm1", 11),
        ("ETTm2", 11),
        ("ECL", 8),
        ("Weather", 11),
        ("Exchange", 10),
        ("ILI", 9),
    ],
)
def test_published_instructions_have_as_many_gpt2_tokens_as_published(shared, data, num_tokens):
    tokenizer = find_tokenizer(shared / "gpt2_tokenizer", flag="--llm_tokenizer")
    assert len(token_ids(tokenizer, [DATASETS[data].instruction])[0]) == num_tokens


def test_the_training_loss_is_the_mean_over_look_back_and_horizon_and_gradients_are_shortened():
    model = build(dropout=0.0, decoder_dropout=0.0, max_gradient_norm=1e-3).train()
    without_dropout(model)
    look_back, target = rows(), torch.randn(3, PRED_LEN, 1, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    mask = draw_mask(look_back[:, :, 0], 0.5)
    statistics = masked_statistics(look_back[:, :, 0], mask)
    tokens = model.decode(model.reader(model.tokens(look_back[:, :, 0], mask, statistics), 0))
    both = model.outputs(tokens, statistics, SEQ_LEN, PRED_LEN)
    expected = F.mse_loss(both, torch.cat([look_back, target], dim=1))
    step = TrainingStep(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        "mse",
        forward=model,
        keep_targets=lambda values: values,
    )
    before = [parameter.detach().clone() for parameter in model.parameters()]
    torch.manual_seed(5)
    losses = step(Batch(torch.arange(3), look_back, target, {}, 3))
    torch.testing.assert_close(losses["loss"], expected.detach())
    torch.testing.assert_close(losses["mse"] + losses["backcast"], expected.detach())
    moved = torch.stack([(p.detach() - b).norm() for p, b in zip(model.parameters(), before, strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def test_the_instruction_read_once_equals_the_instruction_in_front_of_every_row_forward_and_backward():
    model = build(dropout=0.0).train()
    without_dropout(model)
    tokens = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    reader = model.reader
    shared = reader(tokens, 0)
    plain = reader.backbone.states(reader.llm_input(tokens, reader.instruction_words(0)))
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-5)
    weight = torch.randn(plain.shape, generator=torch.Generator().manual_seed(2))
    leaves = [tokens, *(p for p in reader.parameters() if p.requires_grad)]
    for ours, theirs in zip(
        torch.autograd.grad((shared * weight).sum(), leaves), torch.autograd.grad((plain * weight).sum(), leaves),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_with_dropout_in_the_llm_every_row_reads_the_instruction_for_itself():
    model = build().train()
    states = model.reader(torch.zeros(2, 3, 16), 0)
    assert not torch.equal(states[0], states[1])


@pytest.mark.parametrize("settings", [{}, {"instruction": False}, {"tuning": "fpt"}, {"llm_weights": "random"}])
def test_a_row_is_forecast_the_same_alone_and_in_a_batch(settings):
    model = build(**settings).eval()
    torch.testing.assert_close(model(rows()).values[:1], model(rows()[:1]).values, atol=1e-5, rtol=1e-5)


def test_words_of_the_instruction_are_trained_and_saved_with_the_rest():
    model, other = build().train(), build()
    optimiser = torch.optim.Adam(model.parameter_groups(1e-2))
    loss = model(rows()).values.square().mean()
    loss.backward()
    optimiser.step()
    assert not torch.equal(model.reader.words, other.reader.words)
    other.load_saved_state(model.saved_state())
    assert torch.equal(model.eval()(rows()).values, other.eval()(rows()).values)


def test_one_model_reads_tasks_of_other_lengths_strides_and_sentences_and_any_horizon_of_them():
    tasks = [ForecastSpec(SEQ_LEN, PRED_LEN, 1, instruction=TEXT), ForecastSpec(12, 3, 1, instruction="longer words")]
    model = build(tasks=tasks, strides=[16, 4]).eval()
    assert model.num_tokens == max(len(TEXT) + 3, len("longer words") + 1)
    first, second = model(rows()).values, model(rows(seq_len=12), task=torch.tensor(1)).values
    assert (first.shape, second.shape) == ((3, PRED_LEN, 1), (3, 3, 1))
    longer = model(rows(), horizon=torch.tensor(5)).values
    # Up to rounding: a product of fewer columns is another one on some processors.
    torch.testing.assert_close(longer, first[:, :5])


def test_in_published_mode_the_decoder_reads_the_pad_tokens():
    model = build(compat_official=True, max_token_num=20).eval()
    before = model(rows()).values
    with torch.no_grad():
        assert model.pad_token is not None
        model.pad_token.add_(1)
    assert not torch.allclose(before, model(rows()).values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_rate": 1.0}, "--mask_rate must be at least 0 and below 1, got 1.0"),
        ({"max_gradient_norm": 0.0}, "--max_gradient_norm must be above 0, got 0.0"),
        ({"instruction": False, "instruction_text": "x"}, "--instruction_text has no effect with --no_instruction"),
        ({"max_token_num": 5}, "--max_token_num must be 0 or at least 6 for these data, got 5"),
        ({"max_backcast_len": 30}, "--max_backcast_len must be 0 or at least 40 for these data, got 30"),
        ({"stride": 1, "patch_len": 1, "instruction_text": "x" * 1000}, "instruction and patches are 1040 tokens"),
    ],
)
def test_impossible_settings_are_refused_by_their_flag(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
