"""Time-LLM equals the published numbers in compat mode, and the comparison would notice if it did not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layers.llm.tokenizer import find_tokenizer
from layers.statistics import RowStatistics
from layers.time_llm.prompt import TaskPromptWriter
from tests.parity import time_llm
from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.comparison import Comparison, Golden

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return read_golden(shared / "golden" / "timellm_small_a.npz")


@pytest.fixture(scope="module")
def writer(golden, shared) -> TaskPromptWriter:
    tokenizer = find_tokenizer(shared / "golden" / "balm_small_tokenizer", flag="--llm_tokenizer")
    cfg = {name: golden[f"cfg/{name}"].item() for name in ("description", "seq_len", "pred_len")}
    return TaskPromptWriter(tokenizer, **cfg, all_lags=True, float32=True)


def exceeded(results: list[Comparison]) -> set[str]:
    return {result.name for result in results if not result.holds}


def test_every_published_array_of_the_computation_is_compared_and_equal(golden):
    results = comparisons("timellm", golden)
    assert exceeded(results) == set()
    kinds = ("mid/", "out/", "grad/", "after3/", "after3_onecycle/")
    missing = {name for name in golden if name.startswith(kinds)} - {result.name for result in results}
    assert missing == {f"{variant}/{time_llm.ZERO_GRADIENT}" for variant in ("after3", "after3_onecycle")}
    assert {"alt/pred_alone", "alt/pred_input_rounded_bf16"} <= {result.name for result in results}


@pytest.mark.parametrize(
    ("parameter", "first_affected"),
    [
        ("llm_model.h.1.mlp.c_proj.weight", "mid/llm_last_hidden"),
        ("patch_embedding.value_embedding.tokenConv.weight", "mid/patch_embeddings"),
        ("mapping_layer.bias", "mid/source_embeddings"),
        ("reprogramming_layer.query_projection.bias", "mid/attention_weights"),
        ("reprogramming_layer.out_projection.weight", "mid/reprogrammed"),
        ("output_projection.linear.weight", "mid/head_output"),
    ],
)
def test_parity_fails_where_a_changed_parameter_is_read(golden, parameter, first_affected):
    value = golden[f"param/{parameter}"]
    names = exceeded(comparisons("timellm", {**golden, f"param/{parameter}": (value * 1.01 + 1e-3).astype(np.float32)}))
    assert {first_affected, "after3_losses"} <= names
    assert "mid/x_norm" not in names


def test_blocks_behind_the_first_llm_layers_are_not_read(golden):
    """As in a file whose language model is deeper than `llm_layers`."""
    deeper = {name.replace("llm_model.h.1.", "llm_model.h.2."): value for name, value in golden.items()}
    assert exceeded(comparisons("timellm", {**deeper, **golden, "cfg/n_layer": np.array(3)})) == set()


def test_parity_fails_when_the_padding_is_not_read_as_the_published_code_does(golden, monkeypatch):
    build = time_llm.build
    monkeypatch.setattr(time_llm, "build", lambda golden, **_: build(golden, prompt_padding="aligned"))
    assert {"mid/llm_tail", "out/pred"} <= exceeded(comparisons("timellm", golden))


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_the_small_tokenizer_makes_the_stored_ids_of_the_stored_prompts(golden, writer, batch):
    for text, stored, length in zip(*(golden[f"tok/{part}{batch}"].tolist() for part in ("prompts", "ids", "len"))):  # noqa: B905
        assert writer.tokenizer.encode(text).ids == stored[:length]


def test_stored_statistics_are_worded_exactly_as_the_stored_prompts(golden, writer):
    mid = {name: torch.from_numpy(golden[f"mid/{name}"]) for name in ("min_values", "max_values", "medians", "trends")}
    statistics = RowStatistics(
        minimum=mid["min_values"][:, 0],
        maximum=mid["max_values"][:, 0],
        median=mid["medians"][:, 0],
        upward=mid["trends"][:, 0] > 0,
        lags=torch.from_numpy(golden["mid/lags"]),
    )
    assert writer.texts(statistics) == golden["tok/prompts0"].tolist()


def test_every_stored_prompt_begins_with_the_common_tokens(golden, writer):
    common = writer.common_ids
    assert len(common) > 50
    assert (golden["tok/ids0"][:, : len(common)] == common).all()


def test_the_command_exits_zero_for_the_published_file_and_one_for_a_changed_one(golden, shared, tmp_path, capsys):
    assert main(["timellm", str(shared / "golden" / "timellm_small_a.npz")]) == 0
    changed = tmp_path / "changed.npz"
    np.savez(changed, **{**golden, "out/pred": golden["out/pred"] * np.float32(1.01)})
    assert main(["timellm", str(changed)]) == 1
    exceeding = [line for line in capsys.readouterr().out.splitlines() if line.endswith("EXCEEDED")]
    assert [line.split()[0] for line in exceeding] == ["out/pred"]
