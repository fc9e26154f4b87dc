"""BALM against a golden file: everything our model computes, in compat mode, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from torch.nn import functional as F

from layers.alignment import info_nce_logits, token_deviation
from layers.backbones import wrap_backbone
from layers.instance_norm import InstanceStatistics
from layers.llm.tokenizer import END_OF_TEXT
from layers.patching import cut_patches
from layers.statistics import RowStatistics, circular_autocorrelation
from layers.text_encoder import TextEncoder
from models.balm import BALM, BALMConfig
from models.base import ForecastSpec
from tests.parity.comparison import RELATIVE_TOLERANCE, Golden, Quantity, sizes, under
from tests.parity.gpt2 import small_gpt2

RENAMED = (
    ("llm_model.", "text_encoder.llm."),
    ("learnable_prompt", "text_encoder.learnable_prompt"),
    ("patch_embedding.value_embedding.tokenConv.", "patch_embedding.convolution."),
    ("output_projection.", "head."),
    ("tsprojection.", "mapping."),
    ("LearnableTemperatureInfoNCELoss.log_temperature", "log_tau"),
)
# A float32 rounding of the input can flip a bfloat16 rounding, which is 2^-8 of a value.
ROUNDED_INPUT_TOLERANCE = 1e-3


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            return new + published.removeprefix(old)
    return published


def build(golden: Golden, **switches: Any) -> BALM:
    """Our BALM of the file's sizes and parameters, in training mode without dropout; compat but for `switches`."""
    cfg = sizes(golden)
    gpt2 = small_gpt2(
        vocab=cfg["vocab_size"],
        positions=cfg["n_positions"],
        width=cfg["n_embd"],
        blocks=cfg["llm_layers"],
        heads=cfg["n_head"],
        end=cfg["eos_token_id"],
    )
    config = BALMConfig(
        llm_model="random",
        llm_layers=cfg["llm_layers"],
        **{name: cfg[name] for name in ("d_model", "d_ff", "patch_len", "stride")},
        dropout=0.0,
        compat_official=True,
    )
    # Prompts come as stored ids; of the tokenizer only the padding token is asked.
    tokenizer = Tokenizer(BPE(vocab={END_OF_TEXT: cfg["eos_token_id"]}, merges=[]))
    model = BALM(
        replace(config, compat_official=False, **switches) if switches else config,
        ForecastSpec(seq_len=cfg["seq_len"], pred_len=cfg["pred_len"], num_channels=1),
        wrap_backbone(gpt2, tokenizer, name="golden", is_random=True),
    )
    if torch.get_default_device().type != "cpu":
        assert isinstance(model.text_encoder, TextEncoder)
        # As a run on a GPU reads its texts.
        model.text_encoder.pack_if_possible()
    model.load_state_dict({our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items()})
    return model.train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes."""
    model = build(golden)
    ours = {
        **_statistics(golden),
        **_intermediates(model, golden),
        **_losses_and_gradients(model, golden),
        **_other_readings(golden),
    }
    for name, value in ours.items():
        published = torch.from_numpy(golden[name])
        tolerance = ROUNDED_INPUT_TOLERANCE if name == "alt/pred_input_rounded_bf16" else RELATIVE_TOLERANCE
        yield Quantity(name, value, _as_compared(name, published, golden), relative_tolerance=tolerance)
    for variant in ("after3", "after3_onecycle"):
        yield from _after_three_steps(golden, variant)


def _as_compared(name: str, published: Tensor, golden: Golden) -> Tensor:
    """Of the trend only the sign is read, and of lags only how strong they are."""
    if name == "mid/lags":
        return lag_strengths(published, golden)
    return published > 0 if name == "mid/trends" else published


def lag_strengths(lags: Tensor, golden: Golden, *, length: int | None = None) -> Tensor:
    """Autocorrelation at each lag, strongest first. A lag and its mirror are equal: rounding picks one of them."""
    rows = rows_of(torch.from_numpy(golden["in/x0"])).double()
    normalised = InstanceStatistics.of(rows).normalise(rows)[:, :, 0]
    correlation = circular_autocorrelation(normalised, length=length)
    return correlation.gather(1, lags.long()).sort(dim=1, descending=True).values


def rows_of(windows: Tensor) -> Tensor:
    """[window, time, channel] as one row per window and channel, the channel running fastest: [row, time, 1]."""
    return windows.transpose(1, 2).flatten(0, 1)[:, :, None]


def _windows_of(rows: Tensor, golden: Golden) -> Tensor:
    return rows.reshape(golden["cfg/B"].item(), golden["cfg/N"].item(), -1).transpose(1, 2)


def _batch(golden: Golden, index: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    look_back, target = (rows_of(torch.from_numpy(golden[f"in/{name}{index}"])) for name in "xy")
    ids, lengths = (torch.from_numpy(golden[f"tok/{name}{index}"]) for name in ("ids", "len"))
    return look_back, {"prompt_ids": ids, "prompt_lengths": lengths}, target


def _statistics(golden: Golden) -> dict[str, Tensor]:
    rows = _batch(golden, 0)[0][:, :, 0]
    statistics = RowStatistics.of(rows, all_lags=True, float32=True)
    return {
        "mid/min_values": statistics.minimum[:, None],
        "mid/max_values": statistics.maximum[:, None],
        "mid/medians": statistics.median[:, None],
        "mid/trends": statistics.upward[:, None],
        "mid/lags": lag_strengths(statistics.lags, golden),
    }


@torch.no_grad()
def _intermediates(model: BALM, golden: Golden) -> dict[str, Tensor]:
    look_back, constants, target = _batch(golden, 0)
    encoding = model.encode(look_back, **constants)
    encoder = model.text_encoder
    assert encoding.scale is not None and encoder is not None and encoder.learnable_prompt is not None
    x_norm = encoding.statistics.normalise(look_back)
    patches = cut_patches(x_norm[:, :, 0], patch_len=model.config.patch_len, stride=model.config.stride)
    ids, lengths = constants["prompt_ids"], constants["prompt_lengths"]
    states = encoder.states(ids, lengths)
    encoder.num_states, padding = len(encoder.learnable_prompt) + ids.shape[1], encoder.padding
    encoder.padding = "published"
    all_states = encoder.states(ids, lengths)
    encoder.num_states, encoder.padding = model.num_states, padding
    scaled = states / encoding.scale[:, None]
    tokens = model.head_tokens(encoding)
    pred_norm = model.head(tokens)
    pred = encoding.statistics.denormalise(pred_norm[:, :, None])
    logits = info_nce_logits(
        encoding.time_tokens.mean(dim=1), scaled.mean(dim=1), model.log_tau, positive_among_negatives=True
    )
    return {
        "mid/x_norm": x_norm,
        "mid/patch_embeddings": model.patch_embedding(patches),
        "mid/ts_projection": encoding.time_tokens,
        "mid/llm_last_hidden": all_states,
        "mid/llm_tail": states,
        "mid/text_std": token_deviation(states)[:, None],
        "mid/ts_std": token_deviation(encoding.time_tokens)[:, None],
        "mid/scale_factor": encoding.scale[:, None],
        "mid/text_scaled": scaled,
        "mid/infonce_logits": logits,
        "mid/head_input": tokens.transpose(1, 2).unflatten(0, (golden["cfg/B"].item(), golden["cfg/N"].item())),
        "mid/pred_norm": _windows_of(pred_norm, golden),
        "out/pred": _windows_of(pred, golden),
        "out/mse": F.mse_loss(pred, target),
    }


def _losses_and_gradients(model: BALM, golden: Golden) -> dict[str, Tensor]:
    look_back, constants, target = _batch(golden, 0)
    forecast = model(look_back, **constants)
    loss = F.mse_loss(forecast.values, target) + forecast.auxiliary_losses["alignment"]
    model.zero_grad()
    loss.backward()
    values = {"out/infonce": forecast.auxiliary_losses["alignment"].detach(), "out/loss": loss.detach()}
    for name in under(golden, "grad/"):
        gradient = model.get_parameter(our_name(name)).grad
        assert gradient is not None, f"{name} has no gradient"
        values[f"grad/{name}"] = gradient
    return values


@torch.no_grad()
def _other_readings(golden: Golden) -> dict[str, Tensor]:
    """Each row alone is what our own padding makes of the whole batch; and the published rounding of the patches."""
    look_back, constants, _ = _batch(golden, 0)
    values = {}
    if "alt/pred_alone" in golden:
        ids = torch.from_numpy(golden["alt/ids_alone"])
        alone = {"prompt_ids": ids.clamp_min(0), "prompt_lengths": (ids >= 0).sum(dim=1)}
        aligned = build(golden, prompt_padding="aligned")(look_back, **alone)
        values["alt/pred_alone"] = _windows_of(aligned.values, golden)
    if "alt/pred_input_rounded_bf16" in golden:
        rounded = build(golden, patch_input_bf16=True)(look_back, **constants)
        values["alt/pred_input_rounded_bf16"] = _windows_of(rounded.values, golden)
    return values


def _after_three_steps(golden: Golden, variant: str) -> Iterator[Quantity]:
    if f"{variant}_losses" not in golden:
        return
    model = build(golden)
    learning_rate, beta1, beta2 = golden[f"{variant}_lr_beta1_beta2"].tolist()
    optimiser = torch.optim.Adam(model.parameter_groups(learning_rate), betas=(beta1, beta2))
    losses = []
    for index in range(len(golden[f"{variant}_losses"])):
        look_back, constants, target = _batch(golden, index)
        optimiser.zero_grad()
        forecast = model(look_back, **constants)
        loss = F.mse_loss(forecast.values, target) + forecast.auxiliary_losses["alignment"]
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    yield Quantity(f"{variant}_losses", torch.stack(losses), torch.from_numpy(golden[f"{variant}_losses"]))
    for name, published in under(golden, f"{variant}/").items():
        ours = model.get_parameter(our_name(name)).detach()
        yield Quantity(f"{variant}/{name}", ours, torch.from_numpy(published), learning_rate)
