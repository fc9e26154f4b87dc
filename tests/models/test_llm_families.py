"""BALM, CALF and GPT4TS with a language model of every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from layers.llm.families import family_of, norms, position_embeddings
from layers.text_encoder import TextEncoder
from models.balm import BALM, BALMConfig
from models.base import Forecaster, ForecastSpec
from models.calf import CALF, CALFConfig
from models.gpt4ts import GPT4TS, GPT4TSConfig
from tests.layers.llm.small_models import CAUSAL, KINDS, save_model

SPEC = ForecastSpec(seq_len=48, pred_len=12, num_channels=3)
WIDE = [kind for kind in KINDS if kind != "opt_350m"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {kind: save_model(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def look_back(num_channels: int) -> Tensor:
    return torch.randn(4, 48, num_channels, generator=torch.Generator().manual_seed(0)).cumsum(1)


def balm(folder: Path, **flags) -> BALM:
    config = BALMConfig(llm_model=str(folder), llm_layers=2, d_model=4, d_ff=8, patch_len=4, stride=2, **flags)
    torch.manual_seed(0)
    return BALM.build(config, ForecastSpec(seq_len=16, pred_len=8, num_channels=1))


def calf(folder: Path, **flags) -> CALF:
    torch.manual_seed(0)
    config = CALFConfig(llm_model=str(folder), llm_layers=2, num_components=5, lora_rank=2, **flags)
    return CALF.build(config, SPEC)


def gpt4ts(folder: Path) -> GPT4TS:
    torch.manual_seed(0)
    return GPT4TS.build(GPT4TSConfig(llm_model=str(folder), llm_layers=2, patch_len=8, stride=4), SPEC)


def trained(model: Forecaster, rows: Tensor) -> set[str]:
    """Names of the parameters that get a gradient in a training step."""
    forecast = model.train()(rows, **model.prompt_inputs(rows))
    (forecast.values.square().mean() + sum(forecast.auxiliary_losses.values())).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("kind", KINDS)
def test_balm_trains_all_but_the_llm_and_forecasts_a_row_alone_as_in_a_batch(kind, folders):
    model, rows = balm(folders[kind]), look_back(1)[:, :16]
    names = trained(model, rows)
    assert names == {name for name, _ in model.named_parameters() if not name.startswith("text_encoder.llm.")}
    model.eval()
    whole = model(rows, **model.prompt_inputs(rows)).values
    alone = torch.cat([model(row[None], **model.prompt_inputs(row[None])).values for row in rows])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "bert", "opt"])
def test_balms_attention_control_reads_the_words_of_every_family(kind, folders):
    model = balm(folders[kind], text_branch="attention")
    assert "text_encoder.packed.weight" in trained(model, look_back(1)[:, :16])


@pytest.mark.parametrize("kind", WIDE)
def test_calf_tunes_the_familys_attention_and_trains_norms_and_positions(kind, folders):
    model = calf(folders[kind])
    names = trained(model, look_back(3))
    temporal = {name for name in names if name.startswith("temporal.")}
    llm = model.temporal_llm
    free = {id(p) for module in (*norms(llm), *position_embeddings(llm)) for p in module.parameters()}
    expected = {name for name, p in model.named_parameters() if name.startswith("temporal.") and id(p) in free}
    lora = {name for name, _ in model.named_parameters() if "lora_" in name}
    # B starts at 0, so A has no gradient in the first step.
    assert temporal == expected | {name for name in lora if "lora_B" in name}
    assert len(lora) == 2 * 2 * len(family_of(llm.config).lora)
    assert any(name.startswith("textual.") for name in names) == bool(list(position_embeddings(llm)))


@pytest.mark.parametrize("kind", WIDE)
def test_calf_forecasts_a_row_alone_as_in_a_batch(kind, folders):
    model, rows = calf(folders[kind]).eval(), look_back(3)
    alone = torch.cat([model(row[None]).values for row in rows])
    torch.testing.assert_close(alone, model(rows).values, rtol=1e-4, atol=1e-5)


def test_calf_refuses_an_llm_that_is_wider_inside(folders):
    with pytest.raises(ValueError, match="16 and 8 wide: choose another LLM"):
        calf(folders["opt_350m"])


@pytest.mark.parametrize("kind", KINDS)
def test_gpt4ts_trains_norms_and_learnt_positions_of_the_llm(kind, folders):
    model = gpt4ts(folders[kind])
    names = {name for name in trained(model, look_back(3)) if name.startswith("llm.")}
    free = {id(p) for module in (*norms(model.llm), *position_embeddings(model.llm)) for p in module.parameters()}
    assert names == {name for name, p in model.named_parameters() if name.startswith("llm.") and id(p) in free}
    assert not [name for name in model.state_dict() if "embed_tokens" in name or "word_embeddings" in name]


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_checkpoint_goes_back_into_the_model_and_names_another_llm(kind, folders):
    for build in (balm, calf, gpt4ts):
        model, other = build(folders[kind]), build(folders[kind])
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 1
        other.load_saved_state(model.saved_state())
        assert all(
            torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), other.parameters(), strict=True)
        )
        assert model.fingerprint()["description"] == folders[kind].name
        another = build(folders["gpt_neox"])
        assert another.fingerprint()["sha256"] != model.fingerprint()["sha256"]


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_prompt_beyond_the_positions_is_refused(kind, folders):
    model = balm(folders[kind])
    assert isinstance(model.text_encoder, TextEncoder)
    model.text_encoder.check_positions(92)
    with pytest.raises(ValueError, match="has 96 positions, but a prompt needs 4 learnable and 93 text tokens"):
        model.text_encoder.check_positions(93)
