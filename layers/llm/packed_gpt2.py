"""GPT-2 over texts that share a prefix, in few and large operations: BALM's text branch for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import GPT2Model, PreTrainedModel

Heads = tuple[Tensor, Tensor, Tensor]


class BlockWeights(NamedTuple):
    """Weights and biases of a block: those of its norms in float32, those of its products as the model has them."""

    norm_1: tuple[Tensor, Tensor]
    heads: tuple[Tensor, Tensor]
    read: tuple[Tensor, Tensor]
    norm_2: tuple[Tensor, Tensor]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]


class Sizes(NamedTuple):
    """Numbers that a block needs: length of the prefix, rows, heads, and the epsilon of its norms."""

    start: int
    num_rows: int
    num_heads: int
    epsilon: float


class PackedGPT2:
    """The last states of each row of [prefix; text] by a frozen GPT-2 without dropout, with gradient for the prefix.

    Prefix and texts are lines of one matrix, [prefix; rows x tokens], so that norms, products and the feed-forward
    network run once over all; only attention tells the rows apart, with the prefix's keys and values expanded. The last
    block computes only the lines that are asked for. Norms and the residual stream are float32. Up to rounding it
    equals what `TextEncoder.last_states` does on a CPU.
    """

    def __init__(self, model: GPT2Model) -> None:
        self.model = model
        self._block: Callable[..., Tensor] = packed_block
        self._kept: dict[torch.device, tuple[list[BlockWeights], tuple[Tensor, Tensor]]] = {}
        self._masks: dict[tuple[int, int, torch.device], Bool[Tensor, "token position"]] = {}

    @staticmethod
    def reads(model: PreTrainedModel) -> bool:
        """Whether this language model is a GPT-2 with the usual settings."""
        config = model.config
        if not isinstance(model, GPT2Model) or config.activation_function != "gelu_new":
            return False
        return config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx

    @classmethod
    def of(cls, model: PreTrainedModel) -> Self:
        """For this language model. Raises ValueError unless it is a GPT-2 with the usual settings."""
        if not cls.reads(model) or not isinstance(model, GPT2Model):
            kind = model.config.model_type
            raise ValueError(f"texts can be packed for a GPT-2 with its usual settings only, not for {kind}")
        return cls(model)

    def compile_block(self, **how: Any) -> None:
        """Compile the block, as one graph for each shape, with these further arguments of torch.compile."""
        self._block = torch.compile(packed_block, dynamic=False, fullgraph=True, **how)

    def last_states(
        self,
        prefix: Float[Tensor, "position width"],
        ids: Int[Tensor, "row token"],
        lengths: Int[Tensor, "row"],
        *,
        num_states: int,
    ) -> Float[Tensor, "row state width"]:
        """Hidden states of each row's last `num_states` positions, which may reach into the prefix, float32."""
        start, (num_rows, num_tokens) = len(prefix), ids.shape
        words, positions = self.model.wte(ids), self.model.wpe.weight
        texts = (words + positions[start : start + num_tokens]).float().flatten(0, 1)
        lines = torch.cat([prefix.float() + positions[:start].float(), texts])
        config = self.model.config
        sizes = Sizes(start, num_rows, config.n_head, config.layer_norm_epsilon)
        (*blocks, last), final = self._weights_on(ids.device)
        mask = self._mask(num_tokens, start, ids.device)
        for weights in blocks:
            lines = self._block(lines, weights, mask, sizes)
        # Place of each wanted state among the positions of its row, the prefix included.
        ends = (lengths + start)[:, None] - num_states + torch.arange(num_states, device=ids.device)
        lines = _last_block(lines, last, ends, sizes)
        return F.layer_norm(lines, lines.shape[-1:], *final, sizes.epsilon).view(num_rows, num_states, -1)

    def _weights_on(self, device: torch.device) -> tuple[list[BlockWeights], tuple[Tensor, Tensor]]:
        """The weights of every block, and those of the final norm, collected once a device."""
        if device not in self._kept:
            blocks: list[Any] = list(self.model.h)
            kept = [
                BlockWeights(
                    _float32(block.ln_1),
                    _product(block.attn.c_attn),
                    _product(block.attn.c_proj),
                    _float32(block.ln_2),
                    _product(block.mlp.c_fc),
                    _product(block.mlp.c_proj),
                )
                for block in blocks
            ]
            self._kept = {device: (kept, _float32(self.model.ln_f))}
        return self._kept[device]

    def _mask(self, num_tokens: int, start: int, device: torch.device) -> Bool[Tensor, "token position"]:
        """Which positions a token sees: the prefix and the tokens up to itself (padding comes behind them)."""
        key = (num_tokens, start, device)
        if key not in self._masks:
            self._masks[key] = torch.ones(num_tokens, start + num_tokens, dtype=torch.bool, device=device).tril(start)
        return self._masks[key]


def packed_block(
    lines: Float[Tensor, "line width"], weights: BlockWeights, mask: Bool[Tensor, "token position"], sizes: Sizes
) -> Float[Tensor, "line width"]:
    """A block of GPT-2 over [prefix; rows x tokens]."""
    own, (query, key, value) = _heads(lines, weights, sizes)
    ours = F.scaled_dot_product_attention(own[0], own[1], own[2], is_causal=True)
    key, value = (_behind(part, shared) for part, shared in ((key, own[1]), (value, own[2])))
    theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    read = [part.transpose(1, 2).flatten(0, 1).flatten(1) for part in (ours, theirs)]
    return _after_attention(lines, torch.cat(read), weights, sizes)


def _last_block(
    lines: Float[Tensor, "line width"], weights: BlockWeights, ends: Int[Tensor, "row state"], sizes: Sizes
) -> Float[Tensor, "wanted width"]:
    """The last block, for the positions `ends` of each row alone."""
    own, texts = _heads(lines, weights, sizes)
    query, key, value = (_behind(part, shared) for part, shared in zip(texts, own, strict=True))
    wanted = ends[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[-1])
    mask = torch.arange(key.shape[2], device=ends.device) <= ends[:, None, :, None]
    read = F.scaled_dot_product_attention(query.gather(2, wanted), key, value, attn_mask=mask)
    num_tokens = texts[0].shape[2]
    in_text = torch.arange(sizes.num_rows, device=ends.device)[:, None] * num_tokens + ends
    chosen = lines.index_select(0, torch.where(ends < sizes.start, ends, in_text).flatten())
    return _after_attention(chosen, read.transpose(1, 2).flatten(0, 1).flatten(1), weights, sizes)


def _heads(lines: Tensor, weights: BlockWeights, sizes: Sizes) -> tuple[Heads, Heads]:
    """Query, key and value, each [row, head, token, head width], of the prefix (one row) and of the texts."""
    both = _linear(_normed(lines, weights.norm_1, sizes, weights.heads), weights.heads)
    head_width = lines.shape[-1] // sizes.num_heads
    own, texts = (
        part.view(rows, -1, 3, sizes.num_heads, head_width).permute(2, 0, 3, 1, 4).unbind()
        for part, rows in ((both[: sizes.start], 1), (both[sizes.start :], sizes.num_rows))
    )
    return (own[0], own[1], own[2]), (texts[0], texts[1], texts[2])


def _after_attention(lines: Tensor, read: Tensor, weights: BlockWeights, sizes: Sizes) -> Float[Tensor, "line width"]:
    lines = lines + _linear(read, weights.read)
    inner = F.gelu(_linear(_normed(lines, weights.norm_2, sizes, weights.inner), weights.inner), approximate="tanh")
    return lines + _linear(inner, weights.outer)


def _normed(lines: Tensor, norm: tuple[Tensor, Tensor], sizes: Sizes, following: tuple[Tensor, Tensor]) -> Tensor:
    return F.layer_norm(lines, lines.shape[-1:], *norm, sizes.epsilon).to(following[0].dtype)


def _behind(part: Tensor, shared: Tensor) -> Tensor:
    """The tokens of every row behind those that all rows share."""
    return torch.cat([shared.expand(len(part), -1, -1, -1), part], dim=2)


def _linear(lines: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    """transformers' Conv1D, whose weight is transposed."""
    weight, bias = layer
    return torch.addmm(bias, lines.to(weight.dtype), weight)


def _product(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


def _float32(norm: Any) -> tuple[Tensor, Tensor]:
    return norm.weight.float(), norm.bias.float()
