"""Time-LLM against a golden file: everything our model computes, in compat mode, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from torch.nn import functional as F

from layers.backbones import wrap_backbone
from layers.instance_norm import InstanceStatistics
from layers.llm.tokenizer import END_OF_TEXT
from layers.statistics import RowStatistics
from models.base import ForecastSpec
from models.time_llm import TimeLLM, TimeLLMConfig
from tests.parity.balm import ROUNDED_INPUT_TOLERANCE, lag_strengths, rows_of
from tests.parity.comparison import Golden, Quantity, sizes, under
from tests.parity.gpt2 import small_gpt2

RENAMED = (
    ("llm_model.", "reader.llm."),
    ("patch_embedding.value_embedding.tokenConv.", "patch_embedding.convolution."),
    ("mapping_layer.", "prototypes.mixture."),
    ("reprogramming_layer.query_projection.", "reprogramming.query."),
    ("reprogramming_layer.key_projection.", "reprogramming.key."),
    ("reprogramming_layer.value_projection.", "reprogramming.value."),
    ("reprogramming_layer.out_projection.", "reprogramming.output."),
    ("output_projection.", "head."),
)
# A key bias adds the same number to all scores, so its gradient is zero but for rounding, which Adam turns into steps.
ZERO_GRADIENT = "reprogramming_layer.key_projection.bias"
RESULT_TOLERANCE = 2e-5


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            return new + published.removeprefix(old)
    raise KeyError(f"no Time-LLM parameter is called {published}")


def build(golden: Golden, **switches: Any) -> TimeLLM:
    """Our Time-LLM of the file's sizes and parameters, in training mode without dropout; compat but for `switches`."""
    cfg = sizes(golden)
    gpt2 = small_gpt2(
        vocab=cfg["vocab_size"],
        positions=cfg["n_positions"],
        width=cfg["n_embd"],
        blocks=cfg["llm_layers"],
        heads=cfg["n_head"],
        end=cfg["eos_token_id"],
    )
    config = TimeLLMConfig(
        llm_model="random",
        llm_layers=cfg["llm_layers"],
        **{name: cfg[name] for name in ("d_model", "d_ff", "n_heads", "patch_len", "stride")},
        num_prototypes=cfg["num_tokens"],
        dropout=0.0,
        compat_official=True,
    )
    # Prompts come as stored ids; of the tokenizer only the padding token is asked.
    tokenizer = Tokenizer(BPE(vocab={END_OF_TEXT: cfg["eos_token_id"]}, merges=[]))
    spec = ForecastSpec(cfg["seq_len"], cfg["pred_len"], num_channels=1, published_description=str(cfg["description"]))
    model = TimeLLM(
        replace(config, compat_official=False, **switches) if switches else config,
        spec,
        wrap_backbone(gpt2, tokenizer, name="golden", is_random=True),
    )
    read = {our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items()}
    model.load_state_dict({name: value for name, value in read.items() if not _is_unused_block(name, cfg)})
    return model.train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes."""
    model = build(golden)
    yield _trained_names(model, golden)
    ours = {
        **_statistics(golden),
        **_intermediates(model, golden),
        **_loss_and_gradients(model, golden),
        **_other_readings(golden),
    }
    for name, value in ours.items():
        published = _as_compared(name, torch.from_numpy(golden[name]), golden)
        if name == f"grad/{ZERO_GRADIENT}":
            yield Quantity(name, value, published, absolute_tolerance=1e-6)
        elif name.startswith("grad/"):
            yield Quantity(name, value, published)
        else:
            rounded = name == "alt/pred_input_rounded_bf16"
            tolerance = ROUNDED_INPUT_TOLERANCE if rounded else RESULT_TOLERANCE
            yield Quantity(name, value, published, relative_tolerance=tolerance)
    for variant in ("after3", "after3_onecycle"):
        yield from _after_three_steps(golden, variant)


def _as_compared(name: str, published: Tensor, golden: Golden) -> Tensor:
    """Of the trend only the sign is read, and of lags only how strong they are."""
    if name == "mid/lags":
        return _strengths(published, golden)
    return published > 0 if name == "mid/trends" else published


def _strengths(lags: Tensor, golden: Golden) -> Tensor:
    """The published inverse transform has an even number of positions."""
    return lag_strengths(lags, golden, length=golden["cfg/seq_len"].item() // 2 * 2)


def batch_of(golden: Golden, index: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Rows, their stored prompt ids, and targets of a batch."""
    look_back, target = (rows_of(torch.from_numpy(golden[f"in/{name}{index}"])) for name in "xy")
    ids, lengths = (torch.from_numpy(golden[f"tok/{name}{index}"]) for name in ("ids", "len"))
    return look_back, {"prompt_ids": ids, "prompt_lengths": lengths}, target


def _is_unused_block(name: str, cfg: dict[str, Any]) -> bool:
    """Whether the parameter belongs to a block behind the first `llm_layers`."""
    parts = name.split(".")
    return parts[:3] == ["reader", "llm", "h"] and int(parts[3]) >= cfg["llm_layers"]


def _trained_names(model: TimeLLM, golden: Golden) -> Quantity:
    """How many parameters are trained here or in the published code, but not in both: none."""
    ours = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    moved = ours ^ {our_name(str(name)) for name in golden["trainable_names"]}
    return Quantity("trainable_names", torch.tensor(float(len(moved))), torch.tensor(0.0))


def _windows_of(rows: Tensor, golden: Golden) -> Tensor:
    return rows.reshape(golden["cfg/B"].item(), golden["cfg/N"].item(), -1).transpose(1, 2)


def _statistics(golden: Golden) -> dict[str, Tensor]:
    statistics = RowStatistics.of(batch_of(golden, 0)[0][:, :, 0], all_lags=True, float32=True, even_lags=True)
    windows = InstanceStatistics.of(torch.from_numpy(golden["in/x0"]))
    return {
        "mid/mean": windows.mean,
        "mid/stdev": windows.deviation,
        "mid/min_values": statistics.minimum[:, None],
        "mid/max_values": statistics.maximum[:, None],
        "mid/medians": statistics.median[:, None],
        "mid/trends": statistics.upward[:, None],
        "mid/lags": _strengths(statistics.lags, golden),
    }


@torch.no_grad()
def _intermediates(model: TimeLLM, golden: Golden) -> dict[str, Tensor]:
    look_back, inputs, target = batch_of(golden, 0)
    statistics = InstanceStatistics.of(look_back)
    x_norm = statistics.normalise(look_back)
    patches = model.embed_patches(x_norm[:, :, 0])
    prototypes = model.prototypes(model.backbone.word_table())
    keys, values = model.reprogramming.keys_values(prototypes)
    described = model.reprogramming(patches, keys, values)
    states, _ = model.reader.all_states(described, **inputs)
    last = model.reader(described, inputs)
    head_input = last[..., : model.config.d_ff]
    head_output = model.head(head_input)
    pred = statistics.denormalise(head_output[:, :, None])
    windows = (golden["cfg/B"].item(), golden["cfg/N"].item())
    return {
        "mid/x_norm": x_norm,
        "mid/patch_embeddings": patches,
        "mid/source_embeddings": prototypes,
        "mid/attention_weights": model.reprogramming.weights(patches, keys),
        "mid/attention_heads": model.reprogramming.read(patches, keys, values),
        "mid/reprogrammed": described,
        "mid/llm_last_hidden": states,
        "mid/llm_tail": last,
        "mid/head_input": head_input.transpose(1, 2).unflatten(0, windows),
        "mid/head_output": head_output.unflatten(0, windows),
        "out/pred": _windows_of(pred, golden),
        "out/loss": F.mse_loss(pred, target),
    }


def _loss_and_gradients(model: TimeLLM, golden: Golden) -> dict[str, Tensor]:
    look_back, inputs, target = batch_of(golden, 0)
    loss = F.mse_loss(model(look_back, **inputs).values, target)
    model.zero_grad()
    loss.backward()
    values = {"out/loss": loss.detach()}
    for name in under(golden, "grad/"):
        gradient = model.get_parameter(our_name(name)).grad
        assert gradient is not None, f"{name} has no gradient"
        values[f"grad/{name}"] = gradient
    return values


@torch.no_grad()
def _other_readings(golden: Golden) -> dict[str, Tensor]:
    """Each row alone is what our own padding makes of the whole batch; and the published rounding of the patches."""
    look_back, inputs, _ = batch_of(golden, 0)
    values = {}
    if "alt/pred_alone" in golden:
        ids = torch.from_numpy(golden["alt/ids_alone"])
        alone = {"prompt_ids": ids.clamp_min(0), "prompt_lengths": (ids >= 0).sum(dim=1)}
        aligned = build(golden, prompt_padding="aligned", llm_dropout=False)
        values["alt/pred_alone"] = _windows_of(aligned(look_back, **alone).values, golden)
    if "alt/pred_input_rounded_bf16" in golden:
        rounded = build(golden, patch_input_bf16=True)(look_back, **inputs)
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
        look_back, inputs, target = batch_of(golden, index)
        optimiser.zero_grad()
        loss = F.mse_loss(model(look_back, **inputs).values, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    published = torch.from_numpy(golden[f"{variant}_losses"])
    yield Quantity(f"{variant}_losses", torch.stack(losses), published, relative_tolerance=RESULT_TOLERANCE)
    for name, value in under(golden, f"{variant}/").items():
        if name != ZERO_GRADIENT:
            ours = model.get_parameter(our_name(name)).detach()
            yield Quantity(f"{variant}/{name}", ours, torch.from_numpy(value), learning_rate)
