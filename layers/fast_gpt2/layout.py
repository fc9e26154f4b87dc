"""Which tokens of a batch of texts must be read, and where attention finds them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """A padded grid [text, cell] over the lines of a packed matrix: which line a cell reads, which cell writes a line.

    Several cells may read one line; exactly one of them, its writer, stands for it on the way back. A cell behind the
    end of its text reads line 0 and is seen by nobody. `idle` are all cells, counted through the grid, that write
    nothing; `sharers` those among them that read a token.
    """

    lines: Int[Tensor, "text cell"]
    writers: Int[Tensor, "line"]
    idle: Int[Tensor, "idle_cell"]
    sharers: Int[Tensor, "sharing_cell"]

    @staticmethod
    def over(lines: Int[Tensor, "text cell"], num_lines: int) -> Cells:
        """Cells that read `lines`, -1 where a text has ended; a line's writer is one of the cells that read it."""
        flat, order = lines.flatten(), torch.arange(lines.numel(), device=lines.device)
        writers = order.new_zeros(num_lines + 1).scatter_(0, flat.remainder(num_lines + 1), order)
        is_writer = writers[flat] == order
        writes = is_writer & (flat >= 0)
        idle = (~writes).nonzero()[:, 0]
        sharers = (~is_writer & (flat >= 0)).nonzero()[:, 0]
        return Cells(lines.clamp(min=0), writers[:num_lines], idle, sharers)

    @staticmethod
    def one_to_one(lines: Int[Tensor, "text cell"], first_line: int) -> Cells:
        """Cells of which each reads and writes a line of its own, from `first_line` on."""
        order = torch.arange(lines.numel(), device=lines.device)
        none = order[:0]
        return Cells(lines, torch.cat([order.new_zeros(first_line), order]), none, none)


@dataclass(frozen=True)
class TextLayout:
    """The packed matrix [prefix; distinct text tokens] of a batch.

    Under causal attention, tokens of two rows have the same states as long as all tokens before them are the same too:
    equal texts, and equal beginnings of texts, are read once. `text_of_row` says which distinct text a row reads.
    The first block's projections depend on a token and its position alone, so they run once for each such pair.
    """

    num_prefix: int
    text_of_row: Int[Tensor, "row"]
    pair_ids: Int[Tensor, "pair"]
    pair_positions: Int[Tensor, "pair"]
    pair_of_token: Int[Tensor, "token"]
    body: Cells
    tail_tokens: Int[Tensor, "tail_token"]
    tail: Cells
    tail_hidden: Float[Tensor, "text state key"]

    @property
    def num_tokens(self) -> int:
        """Lines of the packed matrix, the prefix among them."""
        return self.num_prefix + len(self.pair_of_token)

    @staticmethod
    def of(
        ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"], *, num_prefix: int, num_states: int
    ) -> TextLayout:
        """The layout of rows whose first `lengths` ids are text, for their last `num_states` states.

        ValueError where prefix and text of a row are shorter than `num_states`.
        """
        if ids.device.type != "cpu":
            return _padded_layout(ids, lengths, num_prefix, num_states)
        shortest = int(lengths.min())
        if num_prefix + shortest < num_states:
            raise ValueError(
                f"a prompt of {shortest} tokens behind {num_prefix} learnable ones has no {num_states} last states: "
                "shorten --pred_len, or keep the learnable prompt"
            )
        ids = ids[:, : int(lengths.max())]
        places = torch.arange(ids.shape[1])
        texts, text_of_row = ids.masked_fill(places >= lengths[:, None], -1).unique(dim=0, return_inverse=True)
        owned = texts >= 0
        is_new = owned & ~_like_the_text_before(texts)
        token = is_new.flatten().cumsum(0).view_as(texts) - 1
        token = token.masked_fill(~is_new, 0).cummax(dim=0).values
        num_tokens = num_prefix + int(is_new.sum())
        lines = torch.where(owned, token + num_prefix, -1)
        positions = (num_prefix + places).expand_as(texts)[is_new]
        pairs, pair_of_token = (texts[is_new] * (num_prefix + len(places)) + positions).unique(return_inverse=True)
        tail, hidden = _tail_of(lines, owned.sum(dim=1), num_prefix, num_states)
        tail_tokens, tail = tail.unique(return_inverse=True)
        return TextLayout(
            num_prefix=num_prefix,
            text_of_row=text_of_row,
            pair_ids=pairs // (num_prefix + len(places)),
            pair_positions=pairs % (num_prefix + len(places)),
            pair_of_token=pair_of_token,
            body=Cells.over(lines, num_tokens),
            tail_tokens=tail_tokens,
            tail=Cells.over(tail, len(tail_tokens)),
            tail_hidden=hidden,
        )


def _like_the_text_before(texts: Int[Tensor, "text width"]) -> Bool[Tensor, "text width"]:
    """Whether a sorted text agrees with the one before it from its first token to this one."""
    alike = torch.zeros_like(texts, dtype=torch.bool)
    alike[1:] = (texts[1:] == texts[:-1]).long().cumprod(dim=1).bool()
    return alike


def _tail_of(
    lines: Int[Tensor, "text width"], lengths: Int[Tensor, "text"], num_prefix: int, num_states: int
) -> tuple[Int[Tensor, "text state"], Float[Tensor, "text state key"]]:
    """Lines of the last states of each text, and -inf where a key comes after the state."""
    device = lines.device
    positions = (num_prefix + lengths)[:, None] - num_states + torch.arange(num_states, device=device)
    keys = torch.cat([torch.arange(num_prefix, device=device).expand(len(lines), -1), lines], dim=1)
    later = torch.arange(keys.shape[1], device=device) > positions[:, :, None]
    return keys.gather(1, positions), torch.zeros(later.shape, device=device).masked_fill_(later, -torch.inf)


def _padded_layout(ids: Tensor, lengths: Tensor, num_prefix: int, num_states: int) -> TextLayout:
    """A layout of static shape, for a GPU: finding what is alike would make the host wait for the device."""
    num_rows, width = ids.shape
    device = ids.device
    token = torch.arange(num_rows * width, device=device)
    tail, hidden = _tail_of(token.view(num_rows, width) + num_prefix, lengths, num_prefix, num_states)
    return TextLayout(
        num_prefix=num_prefix,
        text_of_row=torch.arange(num_rows, device=device),
        pair_ids=ids.flatten(),
        pair_positions=num_prefix + token % width,
        pair_of_token=token,
        body=Cells.one_to_one(token.view(num_rows, width) + num_prefix, num_prefix),
        tail_tokens=tail.flatten(),
        tail=Cells.one_to_one(torch.arange(num_rows * num_states, device=device).view(num_rows, -1), 0),
        tail_hidden=hidden,
    )
