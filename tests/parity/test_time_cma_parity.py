"""TimeCMA equals the published numbers in compat mode, and the comparison would notice if it did not."""

from __future__ import annotations

import numpy as np
import pytest

from layers.llm.tokenizer import find_tokenizer, token_ids
from tests.parity import time_cma
from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.comparison import Comparison, Golden, sizes

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return read_golden(shared / "golden" / "timecma_small_a.npz")


def exceeded(results: list[Comparison]) -> set[str]:
    return {result.name for result in results if not result.holds}


def test_every_published_array_of_the_computation_is_compared_and_equal(golden):
    results = comparisons("timecma", golden)
    assert exceeded(results) == set()
    kinds = ("mid/", "out/", "grad/", "after3", "alt/", "tok/prompts")
    missing = {name for name in golden if name.startswith(kinds)} - {result.name for result in results}
    cfg = sizes(golden)
    moved_by_noise = {
        name
        for name in missing
        if name.startswith("after3/")
        and (
            time_cma.is_zero_in_theory(name.removeprefix("after3/"), cfg)
            or time_cma.is_partly_zero_in_theory(name.removeprefix("after3/"), cfg)
        )
    }
    assert missing - moved_by_noise == {"after3_lr_beta1_beta2"}
    assert len(moved_by_noise) == 5


@pytest.mark.parametrize(
    ("parameter", "first_affected"),
    [
        ("model.h.1.mlp.c_proj.weight", "mid/prompt_emb0"),
        ("length_to_feature.bias", "mid/length_to_feature"),
        ("ts_encoder.layers.0.norm1.weight", "mid/ts_encoder_0"),
        ("prompt_encoder.layers.0.linear1.weight", "mid/prompt_encoder_0"),
        ("cross.layers.0.norm_attn.bias", "mid/cross_query_norm"),
        ("cross.layers.0.ff.3.weight", "mid/cross_output"),
        ("decoder.layers.1.multihead_attn.out_proj.weight", "mid/decoder_1"),
        ("c_to_length.weight", "mid/head_output"),
    ],
)
def test_parity_fails_where_a_changed_parameter_is_read(golden, parameter, first_affected):
    value = golden[f"param/{parameter}"]
    names = exceeded(comparisons("timecma", {**golden, f"param/{parameter}": (value * 1.01 + 1e-3).astype(np.float32)}))
    assert {first_affected, "out/pred", "after3_losses"} <= names
    assert "mid/x_norm" not in names


def test_the_small_tokenizer_makes_the_stored_ids_of_our_prompts(golden, shared):
    tokenizer = find_tokenizer(shared / "golden" / "balm_small_tokenizer", flag="--llm_tokenizer")
    for batch in range(3):
        ours = token_ids(tokenizer, time_cma.prompts(golden, str(golden["cfg/data_path"].item()), batch))
        stored = zip(golden[f"tok/ids{batch}"].tolist(), golden[f"tok/len{batch}"].tolist(), strict=True)
        assert ours == [ids[:length] for ids, length in stored]


def test_the_command_exits_one_for_a_changed_prompt(golden, tmp_path, capsys):
    changed = tmp_path / "changed.npz"
    texts = golden["alt/prompts_Weather"].copy()
    texts[0] = texts[0].replace("10 minutes", "9 minutes")
    np.savez(changed, **{**golden, "alt/prompts_Weather": texts})
    assert main(["timecma", str(changed)]) == 1
    exceeding = [line for line in capsys.readouterr().out.splitlines() if line.endswith("EXCEEDED")]
    assert [line.split()[0] for line in exceeding] == ["alt/prompts_Weather"]
