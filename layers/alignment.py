"""Scaling and contrastive alignment of text states and time tokens (BALM-TSF sections 3.3 and 3.4)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-8


def token_deviation(tokens: Float[Tensor, "row token d"]) -> Float[Tensor, "row d"]:
    """Standard deviation over the tokens, per row and dimension: sqrt(biased variance + 1e-8)."""
    return torch.sqrt(tokens.var(dim=1, unbiased=False) + EPS)


def balancing_scale(
    text_deviation: Float[Tensor, "row d"], time_deviation: Float[Tensor, "row d"]
) -> Float[Tensor, "row d"]:
    """Divisor that gives the text states the deviation of the time tokens; their mean is not shifted."""
    return text_deviation / (time_deviation + EPS)


def info_nce_logits(
    queries: Float[Tensor, "row d"],
    keys: Float[Tensor, "row d"],
    log_tau: Float[Tensor, ""],
    *,
    positive_among_negatives: bool = False,
) -> Float[Tensor, "row candidate"]:
    """InfoNCE logits: cosine similarities / tau, tau = exp(log_tau); the positive first, then the negatives.

    A row's positive is its own key, its negatives are the keys of the other rows. `positive_among_negatives` (the
    published behaviour) counts the positive among the negatives too, so the loss cannot fall below ln 2.
    """
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    tau = log_tau.exp()
    positive = (queries * keys).sum(dim=-1, keepdim=True) / tau
    others = queries @ keys.roll(1, dims=0).T / tau
    if not positive_among_negatives:
        own = torch.eye(len(keys), dtype=torch.bool, device=keys.device).roll(1, dims=1)
        others = others.masked_fill(own, -torch.inf)
    return torch.cat([positive, others], dim=1)


def info_nce(
    queries: Float[Tensor, "row d"],
    keys: Float[Tensor, "row d"],
    log_tau: Float[Tensor, ""],
    *,
    positive_among_negatives: bool = False,
    group_rows: int = 0,
) -> Float[Tensor, ""]:
    """InfoNCE loss, averaged over rows; negatives come from groups of `group_rows` consecutive rows (0: all rows)."""
    total = queries.new_zeros(())
    group_rows = group_rows or len(queries)
    for group_queries, group_keys in zip(queries.split(group_rows), keys.split(group_rows), strict=True):
        logits = info_nce_logits(group_queries, group_keys, log_tau, positive_among_negatives=positive_among_negatives)
        total = total - logits.log_softmax(dim=1)[:, 0].sum()
    return total / len(queries)


def compare_branches(
    time_tokens: Float[Tensor, "row token d"],
    text_mean: Float[Tensor, "row d"],
    text_deviation: Float[Tensor, "row d"],
    scale: Float[Tensor, "row d"],
) -> dict[str, Tensor]:
    """Per-row mean over tokens, its norm, and the mean deviation of the time, text and scaled text tokens."""
    branches = {
        "time": (time_tokens.mean(dim=1), token_deviation(time_tokens)),
        "text": (text_mean, text_deviation),
        "text_scaled": (text_mean / scale, text_deviation / scale),
    }
    found: dict[str, Tensor] = {}
    for name, (mean, deviation) in branches.items():
        found |= {f"{name}_mean": mean, f"{name}_norm": mean.norm(dim=1), f"{name}_std": deviation.mean(dim=1)}
    return found
