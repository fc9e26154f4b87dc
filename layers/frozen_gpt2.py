"""Blocks of a frozen GPT-2, forward and backward by hand, for texts behind a prefix that all rows share.

By hand because autograd would keep too much and work where nothing is needed: here weights get no gradient, text tokens
none below the first attention, GELU keeps its slope instead of being evaluated twice, and the last block runs only
where it is read. The residual stream, layer norms and softmax sums are float32; matrix products take the weights' dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Tokens whose inner MLP activations are alive at once on a CPU: they stay in its cache.
MLP_TOKENS = 320
GELU_SCALE, GELU_CUBIC = 0.7978845608028654, 0.044715


class Norm(NamedTuple):
    """What the backward pass of a layer norm needs."""

    x: Tensor
    mean: Tensor
    deviation: Tensor


class Attention(NamedTuple):
    """What the backward pass of attention needs: operands as [head and row, position, head_width]."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    weights: Tensor


def linear(
    x: Float[Tensor, "token in_width"], layer: Any, out: Tensor | None = None
) -> Float[Tensor, "token out_width"]:
    """`layer`, a GPT-2 Conv1D with its weight stored [in_width, out_width], of `x`."""
    return torch.addmm(layer.bias, x.to(layer.weight.dtype), layer.weight, out=out)


def linear_backward(grad: Tensor, layer: Any) -> Tensor:
    """Gradient of `linear`'s input."""
    return grad.to(layer.weight.dtype) @ layer.weight.t()


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


def gelu(h: Tensor) -> tuple[Tensor, Tensor]:
    """GPT-2's GELU and its slope, in float32: both from one sigmoid, since (1 + tanh z) / 2 = sigmoid(2 z)."""
    h = h.float()
    linear_part = h.new_tensor(2 * GELU_SCALE)
    ratio = torch.addcmul(linear_part, h, h, value=2 * GELU_SCALE * GELU_CUBIC)
    gate = (h * ratio).sigmoid_()
    activation = h * gate
    slope_of_z = ratio.mul_(3).sub_(4 * GELU_SCALE)
    rest = torch.addcmul(activation, activation, gate, value=-1)
    return activation, torch.addcmul(gate, rest, slope_of_z, out=rest)


def mlp(block: Any, x: Tensor, *, keep: bool) -> tuple[Tensor, Tensor | None]:
    """The MLP of a block, and the slope of its GELU if `keep`; a few hundred tokens at a time."""
    inner, dtype = block.mlp.c_fc, block.mlp.c_fc.weight.dtype
    out = torch.empty(len(x), block.mlp.c_proj.weight.shape[1], dtype=dtype, device=x.device)
    slopes = torch.empty(len(x), inner.weight.shape[1], dtype=dtype, device=x.device) if keep else None
    for part in _parts(x):
        activation, slope = gelu(linear(x[part], inner))
        torch.addmm(block.mlp.c_proj.bias, activation.to(dtype), block.mlp.c_proj.weight, out=out[part])
        if slopes is not None:
            slopes[part] = slope
    return out, slopes


def mlp_backward(block: Any, grad: Tensor, slopes: Tensor) -> Tensor:
    """Gradient of `mlp`'s input."""
    out = torch.empty(grad.shape, dtype=slopes.dtype, device=grad.device)
    for part in _parts(grad):
        inner = linear_backward(grad[part], block.mlp.c_proj).mul_(slopes[part])
        torch.mm(inner, block.mlp.c_fc.weight.t(), out=out[part])
    return out


def _parts(x: Tensor) -> list[slice]:
    size = MLP_TOKENS if x.device.type == "cpu" else len(x)
    num_parts = max(1, round(len(x) / size))
    edges = [len(x) * i // num_parts for i in range(num_parts + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> tuple[Tensor, Attention]:
    """Attention of [batch, query, width] to [batch, key, width]; `hidden` is -inf where a key is unseen."""
    scores = q.new_empty(len(q), q.shape[1], k.shape[1])
    torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=scores)
    scores.view(-1, *hidden.shape).add_(hidden)
    weights = torch.softmax(scores, dim=-1)
    return torch.bmm(weights, v), Attention(q, k, v, weights)


def score_gradient(grad: Tensor, kept: Attention) -> Tensor:
    """Gradient of attention's scores before scaling by 1 / sqrt(width)."""
    weights_gradient = torch.bmm(grad, kept.values.transpose(1, 2))
    return torch._softmax_backward_data(weights_gradient, kept.weights, -1, grad.dtype)


def scaled_bmm(a: Tensor, b: Tensor, out: Tensor, scale: float) -> Tensor:
    """`scale` * a @ b written into `out`."""
    return torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)


def attend_backward(grad: Tensor, kept: Attention, out: tuple[Tensor, Tensor, Tensor]) -> None:
    """Gradients of queries, keys and values, written into `out`."""
    scale = kept.queries.shape[-1] ** -0.5
    scores = score_gradient(grad, kept)
    scaled_bmm(scores, kept.keys, out[0], scale)
    scaled_bmm(scores.transpose(1, 2), kept.queries, out[1], scale)
    torch.bmm(kept.weights.transpose(1, 2), grad, out=out[2])
