"""TimeCMA against a golden file, in float64: everything our model computes, in compat mode, beside the published."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from layers.backbones import wrap_backbone
from layers.instance_norm import InstanceStatistics
from layers.llm.tokenizer import END_OF_TEXT
from layers.time_cma.prompt import ValuePromptWriter, published_step
from models.base import ForecastSpec
from models.time_cma import TimeCMA, TimeCMAConfig
from tests.parity.calf import without_keys
from tests.parity.comparison import Golden, Quantity, sizes, under

RENAMED = (
    ("model.", "reader.llm."),
    ("length_to_feature.", "embedding."),
    ("ts_encoder.layers.", "time_encoder."),
    ("prompt_encoder.layers.", "prompt_encoder."),
    ("cross.layers.0.self_attn.W_Q.", "retrieval.query."),
    ("cross.layers.0.self_attn.W_K.", "retrieval.key."),
    ("cross.layers.0.self_attn.W_V.", "retrieval.value."),
    ("cross.layers.0.self_attn.to_out.0.", "retrieval.output."),
    ("cross.layers.0.norm_attn.", "retrieval.norm."),
    ("cross.layers.0.norm_ffn.", "retrieval.feed_forward_norm."),
    ("cross.layers.0.ff.", "retrieval.feed_forward."),
    ("decoder.layers.", "decoder."),
    ("c_to_length.", "head."),
)
# The published scale of the scores is stored among the parameters, but is the constant channels ** -0.5.
SCALE = "cross.layers.0.self_attn.sdp_attn.scale"
KEY_BIAS = "cross.layers.0.self_attn.W_K.bias"
RESULT_TOLERANCE = 2e-5
# Gradients that are zero in theory are rounding noise in the file.
NOISE = 1e-5


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            return new + published.removeprefix(old)
    raise KeyError(f"no TimeCMA parameter is called {published}")


def build(golden: Golden) -> TimeCMA:
    """Our TimeCMA of the file's sizes and parameters, in compat and training mode but without dropout, in float64."""
    cfg = sizes(golden)
    gpt2 = GPT2Model(
        GPT2Config(
            vocab_size=cfg["vocab_size"],
            n_positions=cfg["n_positions"],
            n_embd=cfg["d_llm"],
            n_layer=cfg["n_layer"],
            n_head=cfg["n_head"],
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    config = TimeCMAConfig(
        llm_model="random",
        llm_layers=cfg["n_layer"],
        d_model=cfg["channel"],
        n_heads=cfg["head"],
        e_layers=cfg["e_layer"],
        d_layers=cfg["d_layer"],
        d_ff=cfg["d_ff"],
        feed_forward=cfg["enc_dim_feedforward"],
        dropout=0.0,
        weight_decay=cfg["weight_decay"],
        max_norm=cfg["clip"],
        compat_official=True,
    )
    spec = ForecastSpec(cfg["seq_len"], cfg["pred_len"], num_channels=cfg["N"], data=str(cfg["data_path"]))
    tokenizer = Tokenizer(BPE(vocab={END_OF_TEXT: 0}, merges=[]))
    model = TimeCMA(config, spec, wrap_backbone(gpt2, tokenizer, name="golden", is_random=True))
    read = {our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items() if name != SCALE}
    model.load_state_dict(read)
    return model.double().train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes."""
    model = build(golden)
    yield from _counts(model, golden)
    yield from _prompts(golden)
    for name, value in {**_text_states(model, golden), **_intermediates(model, golden)}.items():
        yield Quantity(name, value, torch.from_numpy(np.asarray(golden[name])), relative_tolerance=RESULT_TOLERANCE)
    yield from _loss_and_gradients(model, golden)
    yield from _after_three_steps(golden)


def originals(golden: Golden, index: int = 0) -> tuple[Tensor, Tensor]:
    """Windows of a batch in original units, and their dates in nanoseconds since 1970."""
    marks = golden[f"in/x_mark{index}"]
    parts = {name: marks[:, :, place].ravel() for place, name in ((0, "year"), (1, "month"), (2, "day"), (4, "hour"))}
    dates = pd.to_datetime(pd.DataFrame({**parts, "minute": marks[:, :, 5].ravel()})).to_numpy()
    times = torch.from_numpy(dates.astype("datetime64[ns]").astype(np.int64)).reshape(marks.shape[:2])
    return torch.from_numpy(golden[f"in/x_raw{index}"]).double(), times


def prompts(golden: Golden, data: str, index: int = 0) -> list[str]:
    """Our published prompts of a batch if the data set had this name."""
    writer = ValuePromptWriter(Tokenizer(BPE()), sizes(golden)["seq_len"], *published_step(data), published=True)
    return writer.texts(*(value.cpu() for value in originals(golden, index)))


def is_zero_in_theory(name: str, cfg: dict[str, int]) -> bool:
    """Whether a gradient is zero but for rounding, beside the keys of a packed bias.

    A key bias adds the same number to all scores; what is constant over the channels at the end of an encoder is
    removed by the retrieval's norm over channels.
    """
    last = cfg["e_layer"] - 1
    return name == KEY_BIAS or name in {f"{encoder}_encoder.layers.{last}.linear2.bias" for encoder in ("ts", "prompt")}


def is_partly_zero_in_theory(name: str, cfg: dict[str, int]) -> bool:
    """Whether some elements are: those of hidden units that are active for all channels or for none."""
    last = cfg["e_layer"] - 1
    return name in {f"{encoder}_encoder.layers.{last}.linear1.bias" for encoder in ("ts", "prompt")}


def _exactly(name: str, difference: int) -> Quantity:
    return Quantity(name, torch.tensor(float(difference)), torch.tensor(0.0), absolute_tolerance=0.0)


def _counts(model: TimeCMA, golden: Golden) -> Iterator[Quantity]:
    ours = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    yield _exactly("trainable_names", len(set(ours) ^ {our_name(str(name)) for name in golden["trainable_names"]}))
    used = sum(parameter.numel() for parameter in ours.values()) + 1  # the published constant scale
    yield _exactly("cfg/n_params_used", used - golden["cfg/n_params_used"].item())


def _prompts(golden: Golden) -> Iterator[Quantity]:
    data = str(golden["cfg/data_path"].item())
    for index in range(3):
        stored = golden[f"tok/prompts{index}"].tolist()
        yield _exactly(f"tok/prompts{index}", sum(a != b for a, b in zip(prompts(golden, data, index), stored)))  # noqa: B905
    for name, stored in under(golden, "alt/prompts_").items():
        ours = prompts(golden, name)[: len(stored)]
        yield _exactly(f"alt/prompts_{name}", sum(a != b for a, b in zip(ours, stored.tolist(), strict=True)))


def _inputs(golden: Golden, index: int) -> dict[str, Tensor]:
    """Token ids of a batch as our model gets them."""
    ids, lengths = (torch.from_numpy(golden[f"tok/{name}{index}"]) for name in ("ids", "len"))
    cfg = sizes(golden)
    by_window = ids.clamp_min(0).unflatten(0, (cfg["B"], cfg["N"])).transpose(1, 2)
    return {"prompt_ids": by_window, "prompt_lengths": lengths.unflatten(0, (cfg["B"], cfg["N"]))}


def _batch(golden: Golden, index: int) -> tuple[Tensor, Tensor]:
    look_back, target = (torch.from_numpy(golden[f"in/{name}{index}"]).double() for name in "xy")
    return look_back, target


@torch.no_grad()
def _text_states(model: TimeCMA, golden: Golden) -> dict[str, Tensor]:
    assert model.backbone is not None
    found = {}
    for index in range(3):
        states = model.text_states(golden["cfg/B"].item(), _inputs(golden, index))
        found[f"mid/prompt_emb{index}"] = states.transpose(1, 2)
    first = torch.from_numpy(golden["tok/ids0"])[:1, : int(golden["tok/len0"][0])]
    ends = torch.tensor([first.shape[1]])
    found["mid/prompt_hidden_row0"] = model.backbone.states(model.backbone.embed(first), ends)[0]
    return found


@torch.no_grad()
def _intermediates(model: TimeCMA, golden: Golden) -> dict[str, Tensor]:
    look_back, target = _batch(golden, 0)
    statistics = InstanceStatistics.of(look_back)
    x_norm = statistics.normalise(look_back)
    found = {"mid/mean": statistics.mean, "mid/stdev": statistics.deviation, "mid/x_norm": x_norm.transpose(1, 2)}
    tokens = model.embedding(x_norm.transpose(1, 2))
    found["mid/length_to_feature"] = tokens
    for number, layer in enumerate(model.time_encoder):
        found[f"mid/ts_encoder_{number}"] = tokens = layer(tokens)
    text = model.text_states(len(look_back), _inputs(golden, 0))
    assert model.prompt_encoder is not None
    for number, layer in enumerate(model.prompt_encoder):
        found[f"mid/prompt_encoder_{number}"] = text = layer(text)
    retrieval = model.retrieval
    queries, memory = retrieval.norm(tokens.transpose(1, 2)), retrieval.norm(text.transpose(1, 2))
    read = retrieval.retrieve(queries, memory)
    found |= {
        "mid/cross_query_norm": queries,
        "mid/cross_key_norm": memory,
        "mid/cross_attention_weights": retrieval.weights(queries, memory)[:, None],
        "mid/cross_attention_output": read,
        "mid/cross_norm_ffn": retrieval.feed_forward_norm(queries + read),
    }
    tokens = memory = model.align(tokens, text)
    found["mid/cross_output"] = tokens.transpose(1, 2)
    for number, layer in enumerate(model.decoder):
        found[f"mid/decoder_{number}"] = tokens = layer(tokens, memory)
    found["mid/head_output"] = model.head(tokens)
    found["out/pred"] = model(look_back, **_inputs(golden, 0)).values
    found["out/loss"] = F.mse_loss(found["out/pred"], target)
    return found


def _loss_and_gradients(model: TimeCMA, golden: Golden) -> Iterator[Quantity]:
    look_back, target = _batch(golden, 0)
    loss = F.mse_loss(model(look_back, **_inputs(golden, 0)).values, target)
    model.zero_grad()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    published_norm = torch.from_numpy(np.asarray(golden["out/grad_norm"]))
    yield Quantity("out/grad_norm", norm, published_norm, relative_tolerance=RESULT_TOLERANCE)
    for name, value in under(golden, "grad/").items():
        gradient, published = model.get_parameter(our_name(name)).grad, torch.from_numpy(value)
        assert gradient is not None, f"{name} has no gradient"
        if is_zero_in_theory(name, sizes(golden)):
            yield Quantity(f"grad/{name}", gradient, published, absolute_tolerance=NOISE)
        elif name.endswith("in_proj_bias"):
            yield Quantity(f"grad/{name}", without_keys(gradient), without_keys(published))
            keys, published_keys = (part.chunk(3)[1] for part in (gradient, published))
            yield Quantity(f"grad/{name} of the keys", keys, published_keys, absolute_tolerance=NOISE)
        else:
            yield Quantity(f"grad/{name}", gradient, published)


def _after_three_steps(golden: Golden) -> Iterator[Quantity]:
    model, cfg = build(golden), sizes(golden)
    learning_rate, beta1, beta2 = golden["after3_lr_beta1_beta2"].tolist()
    optimiser = torch.optim.Adam(model.parameter_groups(learning_rate), betas=(beta1, beta2))
    losses, norms = [], []
    assert model.max_gradient_norm is not None
    for index in range(len(golden["after3_losses"])):
        look_back, target = _batch(golden, index)
        optimiser.zero_grad()
        loss = F.mse_loss(model(look_back, **_inputs(golden, index)).values, target)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), model.max_gradient_norm))
        optimiser.step()
        losses.append(loss.detach())
    for name, found in (("losses", losses), ("grad_norms", norms)):
        yield Quantity(f"after3_{name}", torch.stack(found), torch.from_numpy(golden[f"after3_{name}"]))
    for name, value in under(golden, "after3/").items():
        ours, published = model.get_parameter(our_name(name)).detach(), torch.from_numpy(value)
        if is_zero_in_theory(name, cfg) or is_partly_zero_in_theory(name, cfg):
            continue
        if name.endswith("in_proj_bias"):
            ours, published = without_keys(ours), without_keys(published)
        yield Quantity(f"after3/{name}", ours, published, learning_rate)
