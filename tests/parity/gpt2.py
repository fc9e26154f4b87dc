"""The GPT-2 of a golden file's sizes."""

from __future__ import annotations

from transformers import GPT2Config, GPT2Model


def small_gpt2(*, vocab: int, positions: int, width: int, blocks: int, heads: int, end: int = 0) -> GPT2Model:
    """A GPT-2 of these sizes without dropout, whose weights the file then sets; `end` is its end-of-text token."""
    config = GPT2Config(vocab_size=vocab, n_positions=positions, n_embd=width, n_layer=blocks, n_head=heads)
    config.bos_token_id = config.eos_token_id = end
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    return GPT2Model(config)
