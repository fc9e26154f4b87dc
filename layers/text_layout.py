"""Where every token of a batch of texts stands: one matrix without padding, one padded grid inside attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TextLayout:
    """The packed matrix [shared tokens; row 0's own tokens; row 1's; ...] and how attention's grid is cut from it.

    Shared tokens are the learnable prefix and the first text tokens that all rows have in common: causal attention
    makes their states alike in every row. A grid cell that holds no token reads the packed matrix's last, empty line.
    """

    num_rows: int
    num_prefix: int
    num_shared: int
    longest: int
    token_ids: Int[Tensor, "text_token"]
    token_positions: Int[Tensor, "text_token"]
    query_slots: Int[Tensor, "row longest"]
    key_slots: Int[Tensor, "row shared_and_longest"]
    grid_cells: Int[Tensor, "own_token"]
    tail: Int[Tensor, "row num_states"]
    tail_hidden: Float[Tensor, "row num_states shared_and_longest"]

    @property
    def num_tokens(self) -> int:
        """How many lines of the packed matrix hold a token."""
        return self.num_prefix + len(self.token_ids)

    @staticmethod
    def of(
        ids: Int[Tensor, "row width"], lengths: Int[Tensor, "row"], *, num_prefix: int, num_states: int
    ) -> TextLayout:
        """The layout of rows whose first `lengths` ids are text; on a GPU rows stay padded, to spare a synchronisation.

        ValueError when prefix and text of a row are shorter than `num_states`.
        """
        num_rows, width = ids.shape
        device = ids.device
        packed = device.type == "cpu"
        extents = lengths if packed else torch.full_like(lengths, width)
        longest = int(extents.max()) if packed else width
        num_common = _num_common(ids, extents) if packed else 0
        num_shared, longest = num_prefix + num_common, longest - num_common
        owned = torch.arange(longest, device=device) < (extents - num_common)[:, None]
        starts = num_shared + (extents - num_common).cumsum(0) - (extents - num_common)
        slots = starts[:, None] + torch.arange(longest, device=device)
        own_ids = ids[:, num_common : num_common + longest]
        cells = owned.flatten().nonzero()[:, 0] if packed else torch.arange(num_rows * width, device=device)
        positions = (num_shared + torch.arange(longest, device=device)).expand(num_rows, -1)
        num_lines = num_shared + len(cells)
        query_slots = torch.where(owned, slots, num_lines)
        shared_slots = torch.arange(num_shared, device=device)
        key_slots = torch.cat([shared_slots.expand(num_rows, -1), query_slots], dim=1)
        tail_positions = (num_prefix + lengths)[:, None] - num_states + torch.arange(num_states, device=device)
        if packed and int(lengths.min()) + num_prefix < num_states:
            raise ValueError(
                f"a text of {int(lengths.min())} tokens after a prefix of {num_prefix} has no {num_states} last states: "
                "keep the learnable prompt, or shorten --pred_len"
            )
        hidden = torch.arange(key_slots.shape[1], device=device) > tail_positions[:, :, None]
        return TextLayout(
            num_rows=num_rows,
            num_prefix=num_prefix,
            num_shared=num_shared,
            longest=longest,
            token_ids=torch.cat([ids[0, :num_common], own_ids.flatten()[cells]]),
            token_positions=torch.cat([shared_slots[num_prefix:], positions.flatten()[cells]]),
            query_slots=query_slots,
            key_slots=key_slots,
            grid_cells=cells,
            tail=key_slots.gather(1, tail_positions),
            tail_hidden=torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf),
        )


def _num_common(ids: Tensor, extents: Tensor) -> int:
    """How many first tokens all rows have in common; none for a single row, and always fewer than any row has."""
    if len(ids) == 1:
        return 0
    alike = (ids == ids[0]).all(dim=0).long().cumprod(0).sum()
    return min(int(alike), int(extents.min()) - 1)
