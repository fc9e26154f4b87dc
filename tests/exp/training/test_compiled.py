"""What `--compile` compiles on a GPU, and for how many shapes; torch's compiler is replaced by one that notes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from exp.training.compiled import compile_for_gpu
from layers.llm.packed_gpt2 import packed_block
from layers.text_encoder import TextEncoder
from models.base import ForecastSpec
from models.dlinear import DLinear, DLinearConfig
from models.patchtst import PatchTST, PatchTSTConfig
from tests.models.small_balm import small_balm, walks


class Compiler:
    """Notes what is compiled, how, and the shapes of the first argument that it is called with."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, dict[str, Any]]] = []
        self.shapes: list[torch.Size] = []

    def __call__(self, function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
        self.compiled.append((getattr(function, "__qualname__", ""), how))

        def noted(*given: Any, **named: Any) -> Any:
            self.shapes.append(given[0].shape)
            return function(*given, **named)

        return noted


@pytest.fixture
def compiler(monkeypatch) -> Iterator[Compiler]:
    made, limit = Compiler(), torch._dynamo.config.recompile_limit
    monkeypatch.setattr(torch, "compile", made)
    yield made
    torch._dynamo.config.recompile_limit = limit


def test_the_packed_block_is_compiled_whole_for_all_blocks_and_sees_a_shape_for_each_padded_width(compiler):
    model = small_balm(llm_layers=3).eval()
    encoder = model.text_encoder
    assert isinstance(encoder, TextEncoder)
    encoder.pack()
    inputs = model.prompt_inputs(walks())
    ids, lengths = inputs["prompt_ids"].long(), inputs["prompt_lengths"].long()
    wider = torch.nn.functional.pad(ids, (0, 8))
    with torch.no_grad():
        plain = encoder.last_states(ids, lengths)
        assert compile_for_gpu(model) == "the packed block of GPT-2"
        for given in (ids, ids, wider):
            torch.testing.assert_close(encoder.last_states(given, lengths), plain, rtol=1e-5, atol=5e-6)
    assert compiler.compiled == [(packed_block.__qualname__, {"dynamic": False, "fullgraph": True})]
    # Three blocks, the last of which computes the wanted lines only and is not compiled.
    assert len(compiler.shapes) == 6 and len(set(compiler.shapes)) == 2


def test_repeated_blocks_are_compiled_one_by_one_and_a_model_without_any_as_a_whole(compiler):
    spec = ForecastSpec(seq_len=32, pred_len=8, num_channels=2)
    patches = PatchTST.build(PatchTSTConfig(e_layers=2, d_model=8, n_heads=2, d_ff=8), spec)
    said = compile_for_gpu(patches)
    assert said.startswith("each of 2 blocks ") and len(compiler.compiled) == 2
    assert compile_for_gpu(DLinear.build(DLinearConfig(), spec)) == "the model"
    assert all(how == {"dynamic": False} for _, how in compiler.compiled) and len(compiler.compiled) == 3
