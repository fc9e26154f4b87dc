"""Loading the LLM: what is kept, what is refused, and what randomness touches."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model, T5Config

from layers.llm import loading as llm_module
from layers.llm.loading import LLMConfig, llm_width, load_backbone
from layers.llm.tokenizer import byte_level_tokenizer

VOCAB_SIZE = byte_level_tokenizer().get_vocab_size()


def small_gpt2(vocab_size: int = VOCAB_SIZE) -> GPT2Config:
    end = vocab_size - 1
    return GPT2Config(vocab_size=vocab_size, n_embd=8, n_head=2, n_layer=3, bos_token_id=end, eos_token_id=end)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    GPT2Model(small_gpt2()).save_pretrained(tmp_path)
    byte_level_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def random_config(**flags: int | str) -> LLMConfig:
    return LLMConfig(**{"llm_model": "random", "llm_layers": 2, "llm_width": 8, "llm_heads": 2, **flags})


def test_only_the_first_blocks_are_loaded_and_they_are_those_of_the_checkpoint(checkpoint):
    whole = GPT2Model.from_pretrained(checkpoint)
    loaded = load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=2)).model
    assert loaded.config.num_hidden_layers == 2
    for name, parameter in loaded.named_parameters():
        torch.testing.assert_close(parameter, whole.get_parameter(name), rtol=0, atol=0)


def test_the_blocks_that_are_not_used_need_not_even_be_there(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    first = {name: value for name, value in weights.items() if not name.startswith("h.2.")}
    whole = load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=2))
    save_file(first, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=2)).fingerprint == whole.fingerprint
    with pytest.raises(ValueError, match="lacks weights of a gpt2 model"):
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=3))


def test_a_checkpoint_with_a_language_modelling_head_gives_the_same_llm(checkpoint, tmp_path):
    body = GPT2Model.from_pretrained(checkpoint)
    with_head = GPT2LMHeadModel(small_gpt2())
    with_head.transformer.load_state_dict(body.state_dict())
    folder = tmp_path / "with_head"
    with_head.save_pretrained(folder)
    byte_level_tokenizer().save(str(folder / "tokenizer.json"))
    first, second = (
        load_backbone(LLMConfig(llm_model=str(path), llm_layers=3)).fingerprint for path in (checkpoint, folder)
    )
    assert first["sha256"] == second["sha256"]


def test_the_llm_is_frozen_in_evaluation_mode_and_of_the_asked_precision(checkpoint):
    model = load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1), dtype=torch.bfloat16).model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.config._attn_implementation == "sdpa"


def test_the_fingerprint_is_the_same_in_every_precision_and_another_for_another_depth_or_seed(checkpoint):
    config = LLMConfig(llm_model=str(checkpoint), llm_layers=2)
    exact, half = load_backbone(config), load_backbone(config, dtype=torch.bfloat16)
    assert exact.fingerprint == half.fingerprint
    hashes = {
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1)).fingerprint["sha256"],
        exact.fingerprint["sha256"],
        load_backbone(random_config()).fingerprint["sha256"],
        load_backbone(random_config(llm_seed=1)).fingerprint["sha256"],
    }
    assert len(hashes) == 4
    assert load_backbone(random_config()).fingerprint == load_backbone(random_config()).fingerprint


@pytest.mark.parametrize("setting", [{"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}], ids=str)
def test_the_fingerprint_tells_gpt2s_of_another_attention_scale_apart(checkpoint, setting):
    config = LLMConfig(llm_model=str(checkpoint), llm_layers=1)
    before = load_backbone(config).fingerprint["sha256"]
    settings = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**settings, **setting}))
    changed = load_backbone(config)
    assert changed.fingerprint["sha256"] != before
    assert {name: getattr(changed.model.config, name) for name in setting} == setting


def test_random_weights_leave_the_global_random_state_alone_and_do_not_depend_on_it():
    torch.manual_seed(1)
    first = load_backbone(random_config()).word_table()
    after_loading = torch.rand(3)
    torch.manual_seed(1)
    torch.testing.assert_close(torch.rand(3), after_loading, rtol=0, atol=0)
    torch.testing.assert_close(load_backbone(random_config()).word_table(), first, rtol=0, atol=0)


def test_random_weights_are_initialised_as_gpt2s_are():
    model = load_backbone(random_config(llm_width=256, llm_heads=4)).model
    weights = {name: model.get_parameter(f"h.0.{name}") for name in ("attn.c_attn.weight", "mlp.c_proj.weight")}
    assert float(weights["attn.c_attn.weight"].std()) == pytest.approx(0.02, rel=0.02)
    # Residual projections are smaller by sqrt(2 * blocks).
    assert float(weights["mlp.c_proj.weight"].std()) == pytest.approx(0.02 / 2, rel=0.02)
    assert float(model.get_parameter("h.0.mlp.c_proj.bias").abs().max()) == 0


def test_random_weights_of_a_named_llm_keep_its_architecture_and_tokenizer(checkpoint):
    config = LLMConfig(llm_model=str(checkpoint), llm_layers=2)
    named, control = load_backbone(config), load_backbone(config, random_weights=True)
    shapes = [{name: p.shape for name, p in each.model.named_parameters()} for each in (named, control)]
    assert shapes[0] == shapes[1]
    assert named.tokenizer.to_str() == control.tokenizer.to_str()
    assert (named.fingerprint["random"], control.fingerprint["random"]) == (False, True)
    assert named.fingerprint["sha256"] != control.fingerprint["sha256"]


def test_a_random_llm_reads_the_tokens_of_another_tokenizer_and_its_vocabulary_follows(tmp_path):
    byte_level_tokenizer(["trend"]).save(str(tmp_path / "tokenizer.json"))
    llm = load_backbone(random_config(llm_tokenizer=str(tmp_path)))
    assert llm.model.config.vocab_size == VOCAB_SIZE + len(" trend") - 1
    assert llm.tokenizer.encode(" trend").tokens == ["Ġtrend"]
    assert llm.pad_id == llm.model.config.vocab_size - 1


def test_a_tokenizer_with_more_tokens_than_the_llm_knows_is_refused(checkpoint, tmp_path):
    larger = tmp_path / "larger"
    larger.mkdir()
    byte_level_tokenizer(["trend"]).save(str(larger / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"--llm_tokenizer has 1376 tokens but .* knows only 1371"):
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1, llm_tokenizer=str(larger)))


def test_more_layers_than_the_checkpoint_has_are_refused(checkpoint):
    with pytest.raises(ValueError, match=r"--llm_layers must be at most 3, .* got 4"):
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=4))


def test_a_model_of_another_family_is_refused_and_those_that_fit_are_named(tmp_path):
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is of type 't5', which is not supported; supported are GPT-2, Llama"):
        load_backbone(LLMConfig(llm_model=str(tmp_path)))


def test_weights_that_are_not_safetensors_are_refused(checkpoint):
    model = GPT2Model.from_pretrained(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    torch.save(model.state_dict(), checkpoint / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors") as error:
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1))
    assert "\n" not in str(error.value)


def test_a_damaged_checkpoint_is_refused_in_one_line(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(FileNotFoundError, match="--llm_model") as error:
        load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1))
    assert "\n" not in str(error.value)


def test_a_hub_out_of_reach_is_one_line_that_names_every_way_out(monkeypatch):
    def unreachable(*_args: object, **_flags: object) -> None:
        raise OSError("We couldn't connect to the hub\nand this is a second line")

    monkeypatch.setattr(llm_module, "ask_hub", lambda _: None)
    monkeypatch.setattr(llm_module.PreTrainedConfig, "get_config_dict", unreachable)
    with pytest.raises(FileNotFoundError, match=r"HF_ENDPOINT.*directory.*--llm_model random") as error:
        load_backbone(LLMConfig())
    assert "\n" not in str(error.value)


def test_the_width_is_known_without_loading(checkpoint):
    assert llm_width(random_config(llm_width=24)) == 24
    (checkpoint / "model.safetensors").unlink()
    assert llm_width(LLMConfig(llm_model=str(checkpoint), llm_layers=1)) == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"llm_layers": 0}, "--llm_layers must be at least 1, got 0"),
        ({"llm_model": "random", "llm_width": 10, "llm_heads": 4}, "--llm_width must be a multiple of --llm_heads"),
        ({"llm_width": 24}, "--llm_width can be chosen for --llm_model random only"),
    ],
)
def test_impossible_sizes_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        LLMConfig(**flags)


def test_the_fingerprint_holds_the_tokenizer_that_was_used(checkpoint):
    def tokenizer_hash() -> str:
        return load_backbone(LLMConfig(llm_model=str(checkpoint), llm_layers=1)).fingerprint["tokenizer_sha256"]

    before = tokenizer_hash()
    file = checkpoint / "tokenizer.json"
    Tokenizer.from_file(str(file)).save(str(file), pretty=False)
    assert tokenizer_hash() == before
    file.write_text(file.read_text().replace('"trim_offsets":true', '"trim_offsets":false'))
    assert tokenizer_hash() != before
