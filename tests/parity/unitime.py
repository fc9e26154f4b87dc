"""UniTime against a golden file: everything our model computes, in compat mode, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor, nn
from torch.nn import functional as F

from layers.backbones import wrap_backbone
from layers.unitime.masking import masked_statistics
from models.base import ForecastSpec
from models.unitime import UniTime, UniTimeConfig
from tests.parity.comparison import TIGHT_TOLERANCE, Golden, Quantity, sizes, under
from tests.parity.gpt2 import small_gpt2

RENAMED = (
    ("backbone.transformer.", "reader.llm."),
    ("feature_embedding.", "embedding.values."),
    ("binary_indicator_embedding.", "embedding.mask."),
    ("gate_w1.", "embedding.gate_of_values."),
    ("gate_w2.", "embedding.gate_of_mask."),
    ("feature_projection.", "embedding.projection."),
    ("dec_transformer.", "decoder."),
    ("dec_head.linear.", "head."),
)
WORDS = "backbone.transformer.wte.weight"
# A key's bias adds the same to all scores: its gradient is rounding noise, which Adam turns into whole steps.
KEY_BIASES = ("c_attn.bias", "in_proj_bias")
NOISE = 1e-6


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            return new + published.removeprefix(old)
    return published


def build(golden: Golden, *, compat_official: bool = True, instruction: bool = True) -> UniTime:
    """Our UniTime of the file's sizes and parameters, without dropout."""
    cfg = sizes(golden)
    gpt2 = small_gpt2(
        vocab=cfg["vocab_size"],
        positions=cfg["n_positions"],
        width=cfg["n_embd"],
        blocks=cfg["lm_layer_num"],
        heads=cfg["n_head"],
    )
    nn.init.zeros_(gpt2.wte.weight)
    gpt2.wte.weight.data.copy_(torch.from_numpy(golden[f"param/{WORDS}"]))
    config = UniTimeConfig(
        llm_model="random",
        llm_layers=cfg["lm_layer_num"],
        patch_len=cfg["patch_len"],
        stride=cfg["stride"],
        mask_rate=cfg["mask_rate"],
        decoder_layers=cfg["dec_trans_layer_num"],
        dropout=0.0,
        decoder_dropout=0.0,
        max_gradient_norm=cfg["clip"],
        **{name: cfg[name] for name in ("max_backcast_len", "max_forecast_len", "max_token_num")},
        compat_official=compat_official,
    )
    spec = ForecastSpec(cfg["seq_len"], cfg["pred_len"], 1, instruction=str(golden["tok/instruct"]))
    backbone = wrap_backbone(gpt2, Tokenizer(BPE()), name="golden", is_random=True)
    ids = golden["tok/ids"].tolist() if instruction else []
    model = UniTime(config, [spec], backbone, instructions=[ids])
    state = {our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items()}
    state.pop(our_name(WORDS))
    if not compat_official:
        state.pop("pad_token")
    state["reader.words"] = model.reader.words.detach()
    if "pad_token" in state:
        state["pad_token"] = state["pad_token"].flatten()
    model.load_state_dict(state)
    return model.train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes."""
    values = {**_intermediates(golden), **_evaluations(golden), **_untouched_words(golden)}
    for name, value in values.items():
        yield Quantity(name, value, torch.from_numpy(golden[name]), relative_tolerance=TIGHT_TOLERANCE)
    yield from _losses_and_gradients(golden)
    yield from _after_three_steps(golden)
    trained = {name for name, parameter in build(golden).named_parameters() if parameter.requires_grad}
    published = {our_name(str(name)) for name in golden["trainable_names"]} - {our_name(WORDS)} | {"reader.words"}
    yield Quantity("trainable_names", torch.tensor(float(len(trained ^ published))), torch.tensor(0.0))


def batch_of(golden: Golden, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of look-back [row, time, 1], mask [row, time] and target; a row is a channel of a window."""
    read = [torch.from_numpy(golden[f"in/{name}{index}"]) for name in ("x", "mask", "y")]
    look_back, mask, target = (values.transpose(1, 2).flatten(0, 1) for values in read)
    return look_back[:, :, None], mask, target[:, :, None]


def windows_of(rows: Tensor, golden: Golden) -> Tensor:
    """Rows as windows: [window, time, channel]."""
    return rows.flatten(1).unflatten(0, (-1, golden["in/x0"].shape[2])).transpose(1, 2)


def full_output(model: UniTime, look_back: Tensor, mask: Tensor) -> Tensor:
    """Everything that the head can say of masked rows, in the units of the look-back."""
    statistics = masked_statistics(look_back[:, :, 0], mask)
    tokens = model.decode(model.reader(model.tokens(look_back[:, :, 0], mask, statistics), 0))
    return model.outputs(tokens, statistics, model.backcast_len, len(model.head.bias) - model.backcast_len)


def trained_on(model: UniTime, look_back: Tensor, mask: Tensor, golden: Golden) -> Tensor:
    """Backcast and forecast of masked rows."""
    seq_len, pred_len = golden["cfg/seq_len"].item(), golden["cfg/pred_len"].item()
    start = model.backcast_len - seq_len
    return full_output(model, look_back, mask)[:, start : start + seq_len + pred_len]


@torch.no_grad()
def _intermediates(golden: Golden) -> dict[str, Tensor]:
    model = build(golden)
    look_back, mask, target = batch_of(golden, 0)
    rows = look_back[:, :, 0]
    statistics = masked_statistics(rows, mask)
    x_norm = statistics.normalise(look_back)[:, :, 0] * mask
    patches, mask_patches = model.patches(x_norm), model.patches(mask)
    embedding = model.embedding
    e = embedding.values(patches)
    values = {
        "mid/mean": windows_of(statistics.mean, golden),
        "mid/stdev": windows_of(statistics.deviation, golden),
        "mid/x_norm": windows_of(x_norm, golden),
        "mid/patches": patches,
        "mid/feature_embedding": e,
    }
    if embedding.reads_mask:
        m = embedding.mask(mask_patches)
        values |= {
            "mid/mask_patches": mask_patches,
            "mid/mask_embedding": m,
            "mid/gate": embedding.gate(e, m),
            "mid/gated": embedding.gated(e, m),
        }
    tokens = model.tokens(rows, mask, statistics)
    states = model.reader(tokens, 0)
    values |= {
        "mid/ts_tokens": tokens,
        "mid/lm_input": model.reader.llm_input(tokens, model.reader.instruction_words(0)),
        "mid/lm_output": states,
        "mid/dec_input": model.decoder_input(states),
    }
    decoded = model.decoder_input(states)
    for number, layer in enumerate(model.decoder.layers):
        decoded = layer(decoded)
        values[f"mid/dec_layer_{number}"] = decoded
    head_input = model.decode(states).transpose(1, 2)
    num_windows, num_channels = golden["in/x0"].shape[0], golden["in/x0"].shape[2]
    pred = windows_of(trained_on(model, look_back, mask, golden), golden)
    both = torch.cat([windows_of(look_back, golden), windows_of(target, golden)], dim=1)
    seq_len = golden["cfg/seq_len"].item()
    return values | {
        "mid/dec_output": model.decode(states),
        "mid/head_input": head_input.unflatten(0, (num_windows, num_channels)),
        "mid/head_output": model.head(head_input.flatten(1)).unflatten(0, (num_windows, num_channels)),
        "out/full": windows_of(full_output(model, look_back, mask), golden),
        "out/pred": pred,
        "out/loss_backcast": F.mse_loss(pred[:, :seq_len], both[:, :seq_len]),
        "out/loss_forecast": F.mse_loss(pred[:, seq_len:], both[:, seq_len:]),
    }


@torch.no_grad()
def _evaluations(golden: Golden) -> dict[str, Tensor]:
    """Forecasts as in evaluation, where the instruction is read once for all rows."""
    look_back, _, _ = batch_of(golden, 0)
    found = {}
    for name, instruction in (("alt/eval_forecast", True), ("alt/no_instruct_eval_forecast", False)):
        if name in golden:
            model = build(golden, instruction=instruction).eval()
            found[name] = windows_of(model(look_back).values, golden)
    return found


def _untouched_words(golden: Golden) -> dict[str, Tensor]:
    """Words outside the instruction: no gradient and no movement, so that we need not keep them."""
    ids = sorted(set(golden["tok/ids"].tolist()))
    moved = torch.from_numpy(golden[f"param/{WORDS}"]).clone()
    moved[ids] = torch.from_numpy(golden[f"after3/{WORDS}"])[ids]
    return {f"after3/{WORDS}": moved}


def loss_of(model: UniTime, golden: Golden, index: int) -> Tensor:
    """The published loss, from the file's mask."""
    look_back, mask, target = batch_of(golden, index)
    return F.mse_loss(trained_on(model, look_back, mask, golden), torch.cat([look_back, target], dim=1))


def _losses_and_gradients(golden: Golden) -> Iterator[Quantity]:
    model = build(golden)
    loss = loss_of(model, golden, 0)
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    for name, ours in (("out/loss", loss), ("out/grad_norm", norm)):
        yield Quantity(name, ours, torch.from_numpy(golden[name]), relative_tolerance=TIGHT_TOLERANCE)
    for name, published in under(golden, "grad/").items():
        ours, theirs = _both(model, name, torch.from_numpy(published), of_gradient=True)
        yield Quantity(f"grad/{name}", ours, theirs)
        if name.endswith(KEY_BIASES):
            noise = _keys(_gradient(model, name)) - _keys(torch.from_numpy(published))
            yield Quantity(f"grad/{name} (keys)", noise, torch.zeros_like(noise), absolute_tolerance=NOISE)


def _after_three_steps(golden: Golden) -> Iterator[Quantity]:
    model = build(golden)
    learning_rate, beta1, beta2 = golden["after3_lr_beta1_beta2"].tolist()
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=(beta1, beta2))
    losses, norms = [], []
    assert model.max_gradient_norm is not None
    for index in range(len(golden["after3_losses"])):
        optimiser.zero_grad()
        loss = loss_of(model, golden, index)
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), model.max_gradient_norm))
        optimiser.step()
        losses.append(loss.detach())
    for name, ours in (("after3_losses", losses), ("after3_grad_norms", norms)):
        published = torch.from_numpy(golden[name])
        yield Quantity(name, torch.stack(ours), published, relative_tolerance=TIGHT_TOLERANCE)
    for name, published in under(golden, "after3/").items():
        ours, theirs = _both(model, name, torch.from_numpy(published), of_gradient=False)
        yield Quantity(
            f"after3/{name} (words read)" if name == WORDS else f"after3/{name}", ours, theirs, learning_rate
        )


def _gradient(model: UniTime, name: str) -> Tensor:
    gradient = model.get_parameter("reader.words" if name == WORDS else our_name(name)).grad
    assert gradient is not None, f"{name} has no gradient"
    return gradient


def _both(model: UniTime, name: str, published: Tensor, *, of_gradient: bool) -> tuple[Tensor, Tensor]:
    """Our gradient or value of a parameter beside the published one, without the keys' biases."""
    parameter = model.get_parameter("reader.words" if name == WORDS else our_name(name))
    ours = _gradient(model, name) if of_gradient else parameter.detach()
    if name == WORDS and not of_gradient:
        return ours, published[model.reader.word_ids]
    if name == WORDS:
        table = torch.zeros_like(published)
        table[model.reader.word_ids] = ours
        return table, published
    if name == "pad_token":
        return ours, published.flatten()
    return (_without_keys(ours), _without_keys(published)) if name.endswith(KEY_BIASES) else (ours, published)


def _without_keys(bias: Tensor) -> Tensor:
    query, _, value = bias.chunk(3)
    return torch.cat([query, value])


def _keys(bias: Tensor) -> Tensor:
    return bias.chunk(3)[1]
