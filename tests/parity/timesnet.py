"""TimesNet against a golden file: everything our model computes, in compat mode, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from layers.instance_norm import InstanceStatistics
from layers.timesnet.block import TimesBlock
from layers.timesnet.periods import Spectrum, fold, unfold
from models.base import ForecastSpec
from models.timesnet import TimesNet, TimesNetConfig
from tests.parity.comparison import TIGHT_TOLERANCE, Golden, Quantity, sizes, under

RENAMED = (
    ("enc_embedding.value_embedding.tokenConv.", "embedding.values."),
    ("enc_embedding.temporal_embedding.embed.", "embedding.calendar."),
    ("predict_linear.", "extend."),
    ("layer_norm.", "norm."),
    ("model.", "blocks."),
)
INCEPTIONS = ((".conv.0.", ".widen."), (".conv.2.", ".narrow."))


def our_name(published: str) -> str:
    """Our name of the published parameter."""
    for old, new in RENAMED:
        if published.startswith(old):
            published = new + published.removeprefix(old)
            break
    for old, new in INCEPTIONS:
        published = published.replace(old, new)
    return published


def build(golden: Golden, **switches: Any) -> TimesNet:
    """Our TimesNet of the file's sizes and parameters, in training mode without dropout; compat unless `switches`."""
    cfg = sizes(golden)
    config = TimesNetConfig(
        **{name: cfg[name] for name in ("d_model", "d_ff", "e_layers", "top_k", "num_kernels")},
        dropout=0.0,
        **(switches or {"compat_official": True}),
    )
    num_features = golden["in/x_mark0"].shape[2]
    spec = ForecastSpec(cfg["seq_len"], cfg["pred_len"], cfg["N"], num_time_features=num_features)
    model = TimesNet(config, spec)
    model.load_state_dict({our_name(name): torch.from_numpy(value) for name, value in under(golden, "param/").items()})
    return model.train()


def quantities(golden: Golden) -> Iterator[Quantity]:
    """Everything in the file that our model computes."""
    ours = {**_intermediates(build(golden), golden), **_windows_alone(golden)}
    for name, value in ours.items():
        yield Quantity(name, value, torch.from_numpy(golden[name]), relative_tolerance=TIGHT_TOLERANCE)
    yield from _losses_and_gradients(golden)
    yield from _after_three_steps(golden)
    trained = {name for name, parameter in build(golden).named_parameters() if parameter.requires_grad}
    differing = trained ^ {our_name(str(name)) for name in golden["trainable_names"]}
    yield Quantity("trainable_names", torch.tensor(float(len(differing))), torch.tensor(0.0))


def batch_of(golden: Golden, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Look-back, target and calendar features of a batch."""
    look_back, target, marks = (torch.from_numpy(golden[f"in/{name}{index}"]) for name in ("x", "y", "x_mark"))
    return look_back, target, marks


def blocks_of(model: TimesNet) -> list[TimesBlock]:
    """The blocks in order."""
    return [block for block in model.blocks if isinstance(block, TimesBlock)]


@torch.no_grad()
def _intermediates(model: TimesNet, golden: Golden) -> dict[str, Tensor]:
    look_back, _, marks = batch_of(golden, 0)
    statistics = InstanceStatistics.of(look_back)
    x_norm = statistics.normalise(look_back)
    embedding = model.embedding(x_norm, marks)
    series = model.extend(embedding.transpose(1, 2)).transpose(1, 2)
    values = {
        "mid/mean": statistics.mean,
        "mid/stdev": statistics.deviation,
        "mid/x_norm": x_norm,
        "mid/embedding": embedding,
        "mid/predict_linear": series,
    }
    for number, block in enumerate(blocks_of(model)):
        values |= {f"mid/{name}_{number}": value for name, value in _inside(block, series).items()}
        series = model.norm(block(series))
        values[f"mid/norm_{number}"] = series
    return {**values, "mid/projection": model.projection(series), "out/pred": model(look_back, marks).values}


def _inside(block: TimesBlock, series: Tensor) -> dict[str, Tensor]:
    """What a block computes of `series`."""
    num_steps = series.shape[1]
    spectrum = Spectrum.of(series, block.top_k, of_batch=block.of_batch)
    mean = torch.fft.rfft(series, dim=1).abs().mean(dim=(0, 2))
    mean[0] = 0
    periods = num_steps // spectrum.frequencies[0]
    widen, narrow = block.widen.kernel(), block.narrow.kernel()
    image = fold(series, int(periods[0]))
    convolved = [unfold(narrow(F.gelu(widen(fold(series, p)))), num_steps) for p in periods.tolist()]
    return {
        "amplitude_mean": mean,
        "top_freq": spectrum.frequencies[0],
        "period": periods,
        "amplitude": spectrum.amplitudes,
        "weight": spectrum.amplitudes.softmax(dim=1),
        "block_in": series,
        "image": image,
        "inception1": widen(image),
        "block_conv": torch.stack(convolved, dim=-1),
        "block_out": block(series),
    }


@torch.no_grad()
def periods_of(model: TimesNet, look_back: Tensor, marks: Tensor) -> Tensor:
    """The periods of each row in each block: [row, block, strongest]."""
    found: list[Tensor] = []

    def record(block: TimesBlock, inputs: tuple[Tensor]) -> None:
        spectrum = Spectrum.of(inputs[0], block.top_k, of_batch=block.of_batch)
        found.append(inputs[0].shape[1] // spectrum.frequencies)

    hooks = [block.register_forward_pre_hook(record) for block in blocks_of(model)]
    model(look_back, marks)
    for hook in hooks:
        hook.remove()
    return torch.stack(found, dim=1)


@torch.no_grad()
def _windows_alone(golden: Golden) -> dict[str, Tensor]:
    """Each window alone in published mode is what our default makes of the whole batch."""
    if "alt/pred_alone" not in golden:
        return {}
    model = build(golden, batch_periods=False)
    look_back, _, marks = batch_of(golden, 0)
    return {
        "alt/pred_alone": model(look_back, marks).values,
        "alt/period_alone": periods_of(model, look_back, marks),
    }


def _losses_and_gradients(golden: Golden) -> Iterator[Quantity]:
    model = build(golden)
    look_back, target, marks = batch_of(golden, 0)
    loss = F.mse_loss(model(look_back, marks).values, target)
    loss.backward()
    yield Quantity("out/loss", loss, torch.from_numpy(golden["out/loss"]), relative_tolerance=TIGHT_TOLERANCE)
    for name, published in under(golden, "grad/").items():
        gradient = model.get_parameter(our_name(name)).grad
        assert gradient is not None, f"{name} has no gradient"
        yield Quantity(f"grad/{name}", gradient, torch.from_numpy(published))


def _after_three_steps(golden: Golden) -> Iterator[Quantity]:
    model = build(golden)
    learning_rate, beta1, beta2 = golden["after3_lr_beta1_beta2"].tolist()
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=(beta1, beta2))
    losses, periods = [], []
    for index in range(len(golden["after3_losses"])):
        look_back, target, marks = batch_of(golden, index)
        periods.append(periods_of(model, look_back, marks)[0])
        optimiser.zero_grad()
        loss = F.mse_loss(model(look_back, marks).values, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    for name, ours in (("after3_losses", losses), ("after3_periods", periods)):
        published = torch.from_numpy(golden[name])
        yield Quantity(name, torch.stack(ours), published, relative_tolerance=TIGHT_TOLERANCE)
    for name, published in under(golden, "after3/").items():
        ours = model.get_parameter(our_name(name)).detach()
        yield Quantity(f"after3/{name}", ours, torch.from_numpy(published), learning_rate)
