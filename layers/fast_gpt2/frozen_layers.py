"""Frozen linear maps and MLPs of GPT-2 inside a network that is trained: only their input gets a gradient.

On a CPU through oneDNN, MLPs by parts that stay in its cache; equal to torch's own layers but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from layers.fast_gpt2.operations import gelu_and_slope, linear, linear_backward, multiply, parts


class FrozenConv1D(Conv1D):
    """GPT-2's linear map with a weight that is not trained (where it is, torch computes it)."""

    def forward(self, x: Float[Tensor, "*batch in_width"]) -> Float[Tensor, "*batch out_width"]:
        """`x @ weight + bias` in the weight's dtype."""
        if not by_hand(x, self):
            return super().forward(x)
        y = _Linear.apply(x.flatten(0, -2), self)
        assert isinstance(y, Tensor)
        return y.unflatten(0, x.shape[:-1])


def frozen_mlp(mlp: GPT2MLP, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """`mlp(x)` without its dropout, for an MLP with torch's tanh GELU between two `FrozenConv1D`."""
    known = isinstance(mlp.act, nn.GELU) and mlp.act.approximate == "tanh"
    if not (known and by_hand(x, mlp)):
        return mlp.c_proj(mlp.act(mlp.c_fc(x)))
    y = _MLP.apply(x.flatten(0, -2), mlp)
    assert isinstance(y, Tensor)
    return y.unflatten(0, x.shape[:-1])


def by_hand(x: Tensor, module: nn.Module) -> bool:
    """Whether oneDNN multiplies: on a CPU, unless torch.compile writes the kernels; float64 is left to torch.

    So is a module that is trained after all.
    """
    frozen = not any(parameter.requires_grad for parameter in module.parameters())
    return frozen and x.device.type == "cpu" and x.dtype != torch.float64 and not torch.compiler.is_compiling()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Conv1D) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        return linear(x, layer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return linear_backward(grad, ctx.layer).to(ctx.dtype), None


class _MLP(torch.autograd.Function):
    """Of the wide activations only GELU's slope is kept, and where no gradient is wanted none of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mlp: GPT2MLP) -> Tensor:
        inner: Any = mlp.c_fc
        outer: Any = mlp.c_proj
        slope = inner.weight.new_empty(len(x), inner.weight.shape[1]) if ctx.needs_input_grad[0] else None
        out = outer.weight.new_empty(len(x), outer.weight.shape[1])
        for part in parts(x):
            if slope is None:
                activation = multiply(x[part], inner.weight, inner.bias, then_gelu=True)
            else:
                activation = gelu_and_slope(linear(x[part], inner), slope[part])
            out[part] = linear(activation, outer)
        if slope is not None:
            ctx.mlp, ctx.dtype = mlp, x.dtype
            ctx.save_for_backward(slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        out = grad.new_empty(len(grad), ctx.mlp.c_fc.weight.shape[0], dtype=ctx.dtype)
        for part in parts(grad):
            through = linear_backward(grad[part], ctx.mlp.c_proj).mul_(slope[part])
            out[part] = linear_backward(through, ctx.mlp.c_fc)
        return out, None
