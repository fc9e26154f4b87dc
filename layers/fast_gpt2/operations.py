"""Blocks of a frozen GPT-2, forward and backward by hand, for texts behind a prefix that all rows share.

By hand because autograd would keep too much and work where nothing is needed: here weights get no gradient, and GELU
keeps its slope instead of being evaluated twice. The residual stream, layer norms and softmax sums are float32; matrix
products take the weights' dtype.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Tokens whose inner MLP activations are alive at once on a CPU: they stay in its cache.
MLP_TOKENS = 240
ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
# 2 sqrt(2 / pi) and the cubic coefficient of GPT-2's GELU.
GELU_SCALE, GELU_CUBIC = 1.5957691216057308, 0.044715


class Norm(NamedTuple):
    """What the backward pass of a layer norm needs."""

    x: Tensor
    mean: Tensor
    deviation: Tensor


class Heads(NamedTuple):
    """Operands of attention, or their gradients, as [head and text, position, head_width]."""

    queries: Tensor
    keys: Tensor
    values: Tensor


def multiply(
    x: Float[Tensor, "token in_width"],
    weight: Float[Tensor, "in_width out_width"],
    bias: Float[Tensor, "out_width"] | None = None,
    *,
    then_gelu: bool = False,
) -> Float[Tensor, "token out_width"]:
    """x @ weight + bias in the weight's dtype, and GPT-2's GELU of that if `then_gelu`.

    On a CPU through oneDNN, whose float32 product is several percent faster than the BLAS behind `torch.mm`, and which
    applies GELU while the product is in cache.
    """
    x = x.to(weight.dtype)
    # A part of a weight's columns has gaps between its rows, for which oneDNN takes a path a thousand times slower.
    is_whole = weight.is_contiguous() or weight.t().is_contiguous()
    if x.device.type == "cpu" and ONEDNN_LINEAR is not None and is_whole:
        kind, variant = ("gelu", "tanh") if then_gelu else ("none", "")
        return ONEDNN_LINEAR(x, weight.t(), bias, kind, [], variant)
    product = x @ weight if bias is None else torch.addmm(bias, x, weight)
    return F.gelu(product, approximate="tanh") if then_gelu else product


def linear(x: Float[Tensor, "token in_width"], layer: Any) -> Float[Tensor, "token out_width"]:
    """`layer`, a GPT-2 Conv1D with its weight stored [in_width, out_width], of `x`."""
    return multiply(x, layer.weight, layer.bias)


def linear_backward(grad: Tensor, layer: Any) -> Tensor:
    """Gradient of `linear`'s input."""
    return multiply(grad, layer.weight.t())


def normalise(x: Float[Tensor, "token d"], norm: Any) -> tuple[Tensor, Norm]:
    """Layer norm of the float32 stream `x` with what its backward pass needs."""
    y, mean, deviation = torch.native_layer_norm(x, x.shape[-1:], norm.weight.float(), norm.bias.float(), norm.eps)
    return y, Norm(x, mean, deviation)


def normalise_backward(grad: Tensor, kept: Norm, norm: Any) -> Tensor:
    """Gradient, float32, of `normalise`'s input."""
    weight, bias = norm.weight.float(), norm.bias.float()
    shape, wanted = list(kept.x.shape[-1:]), [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        grad.float(), kept.x, shape, kept.mean, kept.deviation, weight, bias, wanted
    )[0]


def gelu_and_slope(h: Float[Tensor, "token inner"], slope: Float[Tensor, "token inner"]) -> Tensor:
    """GPT-2's GELU of h in float32, perhaps in h's place, and its derivative written into `slope`.

    tanh's GELU is h * sigmoid(h * ratio) with ratio = 2 sqrt(2 / pi) (1 + 0.044715 h^2): one exponential serves both.
    """
    h = h.float()
    ratio = torch.addcmul(h.new_tensor(GELU_SCALE), h, h, value=GELU_SCALE * GELU_CUBIC)
    gate = (h * ratio).sigmoid_()
    activation = h.mul_(gate)
    rest = slope if slope.dtype == torch.float32 else torch.empty_like(h)
    torch.addcmul(activation, activation, gate, value=-1, out=rest)
    torch.addcmul(gate, rest, ratio.mul_(3).sub_(2 * GELU_SCALE), out=slope)
    return activation


def add_mlp(block: Any, x: Float[Tensor, "token d"], *, keep: bool) -> tuple[Tensor, Norm, Tensor | None]:
    """The stream after layer norm and MLP of a block, and what the backward pass needs of both if `keep`.

    Of GELU that is its slope on a CPU, where an exponential costs more than passes over data in cache, and its input
    on a GPU, where passes over memory are what costs.
    """
    y, before = normalise(x, block.ln_2)
    inner, outer, after = block.mlp.c_fc, block.mlp.c_proj, torch.empty_like(x)
    kept = inner.weight.new_empty(len(x), inner.weight.shape[1]) if keep else None
    for part in parts(x):
        if kept is None:
            activation = multiply(y[part], inner.weight, inner.bias, then_gelu=True)
        elif keeps_slope(x):
            activation = gelu_and_slope(linear(y[part], inner), kept[part])
        else:
            kept[part] = linear(y[part], inner)
            activation = F.gelu(kept[part], approximate="tanh")
        torch.add(x[part], linear(activation, outer), out=after[part])
    return after, before, kept


def add_mlp_backward(block: Any, grad: Float[Tensor, "token d"], before: Norm, kept: Tensor) -> Tensor:
    """Gradient of the stream that `add_mlp` reads."""
    out = torch.empty_like(grad)
    for part in parts(grad):
        inner = linear_backward(grad[part], block.mlp.c_proj)
        if keeps_slope(grad):
            inner.mul_(kept[part])
        else:
            inner = torch.ops.aten.gelu_backward(inner, kept[part], approximate="tanh")
        through = linear_backward(inner, block.mlp.c_fc)
        of_part = Norm(*(tensor[part] for tensor in before))
        torch.add(grad[part], normalise_backward(through, of_part, block.ln_2), out=out[part])
    return out


def keeps_slope(x: Tensor) -> bool:
    """Whether GELU's slope is kept rather than its input."""
    return x.device.type == "cpu"


def parts(x: Tensor) -> list[slice]:
    """Slices of tokens that an MLP takes one after the other: on a CPU what its cache holds, else all at once."""
    size = MLP_TOKENS if x.device.type == "cpu" else len(x)
    num_parts = max(1, round(len(x) / size))
    edges = [len(x) * i // num_parts for i in range(num_parts + 1)]
    return [slice(*edge) for edge in pairwise(edges)]


def attention_weights(q: Tensor, k: Tensor, hidden: Tensor) -> Float[Tensor, "batch query key"]:
    """Softmax over keys of [batch, query, width] against [batch, key, width]; `hidden` is -inf for an unseen key."""
    scores = q.new_empty(len(q), q.shape[1], k.shape[1])
    torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=scores)
    scores.view(-1, *hidden.shape).add_(hidden)
    return torch.softmax(scores, dim=-1)


def attend(heads: Heads, hidden: Tensor) -> Float[Tensor, "batch query width"]:
    """What each query reads of the values."""
    return torch.bmm(attention_weights(heads.queries, heads.keys, hidden), heads.values)


def score_gradient(grad: Tensor, heads: Heads, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Attention's weights, computed anew to spare their memory, and the gradient of its unscaled scores."""
    weights = attention_weights(heads.queries, heads.keys, hidden)
    weights_gradient = torch.bmm(grad, heads.values.transpose(1, 2))
    return weights, torch.ops.aten._softmax_backward_data(weights_gradient, weights, -1, grad.dtype)


def attend_backward(grad: Tensor, heads: Heads, hidden: Tensor, out: Heads) -> None:
    """Gradients of queries, keys and values, written into `out`."""
    scale = grad.shape[-1] ** -0.5
    weights, scores = score_gradient(grad, heads, hidden)
    torch.baddbmm(out.queries, scores, heads.keys, beta=0, alpha=scale, out=out.queries)
    torch.baddbmm(out.keys, scores.transpose(1, 2), heads.queries, beta=0, alpha=scale, out=out.keys)
    torch.bmm(weights.transpose(1, 2), grad, out=out.values)
