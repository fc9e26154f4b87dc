"""What the benchmarks count is what is done."""

from __future__ import annotations

import torch

from benchmarks.measuring.counting import TextWork, multiply_adds
from layers.backbones import Backbone
from layers.llm.tokenizer import byte_level_tokenizer
from layers.prompt import PromptWriter
from layers.text_encoder import TextEncoder
from tests.reference_text import plain_states, small_gpt2

WIDTH, BLOCKS, TOKENS, PREFIX, ROWS = 32, 3, 12, 5, 4


def prompts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (ROWS, TOKENS), generator=generator)
    ids[:, 0] = torch.arange(ROWS)  # no two texts begin alike
    return torch.randn(PREFIX, WIDTH, generator=generator).requires_grad_(), ids, torch.full((ROWS,), TOKENS)


def formula() -> TextWork:
    return TextWork(rows=ROWS, tokens=TOKENS, prefix=PREFIX, blocks=BLOCKS, width=WIDTH)


def test_the_published_count_is_that_of_a_plain_step():
    gpt2, (prefix, ids, lengths) = small_gpt2(BLOCKS, width=WIDTH), prompts()
    gpt2.config._attn_implementation = "eager"
    done = multiply_adds(lambda: plain_states(gpt2, prefix, ids, lengths, PREFIX, published=True).sum().backward())
    assert done == formula().published()


def test_the_count_with_a_shared_prompt_is_that_of_our_step():
    gpt2, (prefix, ids, lengths) = small_gpt2(BLOCKS, width=WIDTH), prompts()
    gpt2.config._attn_implementation = "eager"
    tokenizer = byte_level_tokenizer()
    encoder = TextEncoder(Backbone(gpt2, tokenizer, {}), PromptWriter(tokenizer), num_states=PREFIX, d_ff=8)
    encoder.learnable_prompt = torch.nn.Parameter(prefix.detach())
    assert multiply_adds(lambda: encoder.states(ids, lengths).sum().backward()) == formula().shared()


def test_an_encoder_layer_is_counted_in_evaluation_too():
    layer, tokens = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), torch.randn(3, 4, 8)

    def evaluate():
        with torch.no_grad():
            layer(tokens)

    linear, attention = 12 * (4 * 8 * 8 + 2 * 8 * 16), 2 * 3 * 4 * 4 * 8
    assert multiply_adds(evaluate) == linear + attention
    assert torch.backends.mha.get_fastpath_enabled()
