"""The padded width of the prompts of a batch, a function of these prompts alone."""

from __future__ import annotations

from torch import Tensor

# On a GPU, compiled code and graphs are made once for each width.
GPU_MULTIPLE = 8


def cut_prompts(inputs: dict[str, Tensor], *, multiple: int = 1) -> dict[str, Tensor]:
    """`inputs` with `prompt_ids` as wide as the longest of `prompt_lengths`, rounded up to a multiple.

    What a row was padded to when it was stored depends on the rows that were stored with it; a batch must not, or a
    resumed run would compute with other shapes. Inputs without prompts stay as they are.
    """
    ids, lengths = inputs.get("prompt_ids"), inputs.get("prompt_lengths")
    if ids is None or lengths is None or not len(lengths):
        return inputs
    width = -(-int(lengths.long().max()) // multiple) * multiple
    kept = ids[:, :width].contiguous()
    if kept.shape[1] < width:
        wider = ids.new_zeros(len(ids), width, *ids.shape[2:])
        wider[:, : kept.shape[1]] = kept
        kept = wider
    return {**inputs, "prompt_ids": kept}
