"""CALF against a golden file: everything our model computes, in compat mode, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor

from layers.backbones import Backbone
from layers.cross_modal.feature_alignment import DISTANCES, feature_loss
from layers.instance_norm import InstanceStatistics
from models.base import ForecastSpec
from models.calf import CALF, CALFConfig, branch_features
from tests.parity.comparison import Golden, Quantity, sizes, under
from tests.parity.gpt2 import small_gpt2

RENAMED = (
    ("gpt2_text.", "textual."),
    ("gpt2.", "temporal."),
    ("time_proj.", "temporal_projections."),
    ("text_proj.", "textual_projections."),
    ("in_layer.transformer_encoder.layers.0.", "match.encoder."),
    ("in_layer.", "match."),
    ("out_layer.", "head."),
)


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            return new + published.removeprefix(old)
    raise KeyError(f"no CALF parameter is called {published}")


def build(golden: Golden) -> CALF:
    """Our CALF of the file's sizes with the file's parameters, in compat and training mode but without dropout."""
    cfg = sizes(golden)
    gpt2 = small_gpt2(
        vocab=cfg["vocab"],
        positions=cfg["n_positions"],
        width=cfg["d_model"],
        blocks=cfg["gpt_layers"],
        heads=cfg["n_head"],
    )
    config = CALFConfig(
        lora_rank=cfg["lora_r"],
        lora_alpha=cfg["lora_alpha"],
        lora_dropout=0.0,
        num_components=cfg["n_pca"],
        feature_loss=cfg["loss"],
        output_loss=cfg["loss"],
        projection_learning_rate=cfg["lr_loss_optim"],
        compat_official=True,
    )
    model = CALF(
        config,
        ForecastSpec(seq_len=cfg["seq_len"], pred_len=cfg["pred_len"], num_channels=cfg["N"]),
        backbone=Backbone(gpt2, Tokenizer(BPE()), {"name": "golden"}),
        words=torch.from_numpy(golden["word_embedding"].T.copy()),
        num_heads=cfg["enc_heads"],
        feed_forward=cfg["enc_dim_feedforward"],
        dropout=0.0,
    )
    parameters = {our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items()}
    parameters["words"] = model.words
    model.load_state_dict(parameters, strict=True)
    return model.train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes; the last are the parameters after three steps of two rates."""
    model = build(golden)
    values = {**_intermediates(model, golden), **_losses_and_gradients(model, golden)}
    for name, ours in values.items():
        yield Quantity(name, ours, torch.from_numpy(np.asarray(golden[name])))
    yield from _names_of_the_groups(model, golden)
    yield from _after_three_steps(golden)


def _batch(golden: Golden, index: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(golden[f"in/x{index}"]), torch.from_numpy(golden[f"in/y{index}"])


@torch.no_grad()
def _intermediates(model: CALF, golden: Golden) -> dict[str, Tensor]:
    look_back, target = _batch(golden, 0)
    statistics = InstanceStatistics.of(look_back)
    x_norm = statistics.normalise(look_back).transpose(1, 2)
    time_tokens = model.match.time_tokens(x_norm)
    text_tokens = model.match.text_tokens(time_tokens, model.words)
    assert model.textual is not None
    temporal = branch_features(model.temporal_llm, time_tokens)
    textual = branch_features(model.textual, text_tokens)
    projected = model.project(temporal, textual)
    outputs_time, outputs_text = (model.forecast(features[-1], statistics) for features in (temporal, textual))
    distance = DISTANCES[model.config.feature_loss]
    values = {
        "mid/x_norm": x_norm,
        "mid/in_time": time_tokens,
        "mid/in_text": text_tokens,
        "mid/gpt_last_time": temporal[-1] - time_tokens,
        "mid/gpt_last_text": textual[-1] - text_tokens,
        "out/outputs_time": outputs_time,
        "out/outputs_text": outputs_text,
        "out/feature_loss": feature_loss(*projected, distance=distance),
        "out/output_loss": distance(outputs_time, outputs_text),
        "out/task_loss": distance(outputs_time, target),
    }
    for kind, branches in (("raw_feat", (temporal, textual)), ("proj_feat", projected)):
        for branch, features in zip(("time", "text"), branches, strict=True):
            values |= {f"mid/{kind}_{branch}_{index}": feature for index, feature in enumerate(features)}
    return values


def _total_loss(model: CALF, look_back: Tensor, target: Tensor) -> Tensor:
    forecast = model(look_back)
    return DISTANCES[model.config.feature_loss](forecast.values, target) + sum(forecast.auxiliary_losses.values())


def _losses_and_gradients(model: CALF, golden: Golden) -> dict[str, Tensor]:
    loss = _total_loss(model, *_batch(golden, 0))
    model.zero_grad()
    loss.backward()
    values = {"out/loss": loss.detach()}
    for name in under(golden, "grad/"):
        gradient = model.get_parameter(our_name(name)).grad
        assert gradient is not None, f"{name} has no gradient"
        values[f"grad/{name}"] = gradient
    return values


def _names_of_the_groups(model: CALF, golden: Golden) -> Iterator[Quantity]:
    """How many parameters are in another optimiser than the published one: none."""
    ours = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for group, names in zip(model.parameter_groups(1.0), ("model_optim_names", "loss_optim_names"), strict=True):
        members = {id(parameter) for parameter in group["params"]}
        published = {our_name(str(name)) for name in golden[names]}
        moved = published ^ {name for name, parameter in ours.items() if id(parameter) in members}
        yield Quantity(names, torch.tensor(float(len(moved))), torch.tensor(0.0))


def _after_three_steps(golden: Golden) -> Iterator[Quantity]:
    model = build(golden)
    learning_rate = golden["cfg/lr_model_optim"].item()
    optimiser = torch.optim.Adam(model.parameter_groups(learning_rate))
    losses = []
    for index in range(len(golden["after3_losses"])):
        optimiser.zero_grad()
        loss = _total_loss(model, *_batch(golden, index))
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    yield Quantity("after3_losses", torch.stack(losses), torch.from_numpy(golden["after3_losses"]))
    constant = {str(name) for name in golden["loss_optim_names"]}
    for name, value in under(golden, "after3/").items():
        rate = golden["cfg/lr_loss_optim"].item() if name in constant else learning_rate
        ours, published = model.get_parameter(our_name(name)).detach(), torch.from_numpy(value)
        if name.endswith("in_proj_bias"):
            ours, published = without_keys(ours), without_keys(published)
        yield Quantity(f"after3/{name}", ours, published, rate)


def without_keys(bias: Tensor) -> Tensor:
    """An attention's bias without its keys: their gradient is zero in theory, so Adam moves them by rounding noise."""
    query, _, value = bias.chunk(3)
    return torch.cat([query, value])
