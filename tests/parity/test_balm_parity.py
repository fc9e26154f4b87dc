"""BALM equals the published numbers in compat mode, and the comparison would notice if it did not."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from layers.llm.tokenizer import find_tokenizer
from layers.prompt import prompt_texts, tokenise
from layers.statistics import RowStatistics
from tests.parity import balm
from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.comparison import Comparison, Golden, Quantity, compare


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return read_golden(shared / "golden" / "balm_small_a.npz")


def exceeded(results: list[Comparison]) -> set[str]:
    return {result.name for result in results if not result.holds}


@pytest.mark.shared
def test_every_published_array_of_the_computation_is_compared_and_equal(golden):
    results = comparisons("balm", golden)
    assert exceeded(results) == set()
    kinds = ("mid/", "out/", "grad/", "after3/", "after3_onecycle/")
    missing = {name for name in golden if name.startswith(kinds)} - {result.name for result in results}
    assert missing == set()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("parameter", "first_affected"),
    [
        ("learnable_prompt", "mid/llm_last_hidden"),
        ("llm_model.h.1.mlp.c_proj.weight", "mid/llm_last_hidden"),
        ("patch_embedding.value_embedding.tokenConv.weight", "mid/patch_embeddings"),
        ("tsprojection.bias", "mid/ts_projection"),
        ("output_projection.linear.weight", "mid/pred_norm"),
        ("LearnableTemperatureInfoNCELoss.log_temperature", "mid/infonce_logits"),
    ],
)
def test_parity_fails_where_a_changed_parameter_is_read_and_nowhere_before(golden, parameter, first_affected):
    changed = {**golden, f"param/{parameter}": np.asarray(golden[f"param/{parameter}"] * np.float32(1.01) + 1e-3)}
    changed[f"param/{parameter}"] = changed[f"param/{parameter}"].astype(np.float32)
    names = exceeded(comparisons("balm", changed))
    assert {first_affected, "after3_losses"} <= names
    assert "mid/x_norm" not in names


@pytest.mark.shared
def test_parity_fails_when_the_padding_is_not_read_as_the_published_code_does(golden, monkeypatch):
    build = balm.build
    monkeypatch.setattr(balm, "build", lambda golden, **_: build(golden, prompt_padding="aligned"))
    assert {"mid/llm_tail", "out/pred"} <= exceeded(comparisons("balm", golden))


@pytest.mark.shared
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_the_small_tokenizer_makes_the_stored_ids_of_the_stored_prompts(golden, shared, batch):
    tokenizer = find_tokenizer(shared / "golden" / "balm_small_tokenizer", flag="--llm_tokenizer")
    ids, lengths = tokenise(tokenizer, golden[f"tok/prompts{batch}"].tolist())
    assert lengths.tolist() == golden[f"tok/len{batch}"].tolist()
    for ours, stored, length in zip(ids.tolist(), golden[f"tok/ids{batch}"].tolist(), lengths, strict=True):
        assert ours[:length] == stored[:length]


@pytest.mark.shared
def test_stored_statistics_are_worded_exactly_as_the_stored_prompts(golden):
    mid = {name: torch.from_numpy(golden[f"mid/{name}"]) for name in ("min_values", "max_values", "medians", "trends")}
    statistics = RowStatistics(
        minimum=mid["min_values"][:, 0],
        maximum=mid["max_values"][:, 0],
        median=mid["medians"][:, 0],
        upward=mid["trends"][:, 0] > 0,
        lags=torch.from_numpy(golden["mid/lags"]),
    )
    assert prompt_texts(statistics) == golden["tok/prompts0"].tolist()


@pytest.mark.shared
def test_the_command_exits_zero_for_the_published_file_and_one_for_a_changed_one(golden, shared, tmp_path, capsys):
    assert main(["balm", str(shared / "golden" / "balm_small_a.npz")]) == 0
    changed = tmp_path / "changed.npz"
    np.savez(changed, **{**golden, "out/pred": golden["out/pred"] * np.float32(1.01)})
    assert main(["balm", str(changed)]) == 1
    exceeding = [line for line in capsys.readouterr().out.splitlines() if line.endswith("EXCEEDED")]
    assert [line.split()[0] for line in exceeding] == ["out/pred"]


def test_the_command_says_in_one_line_that_the_file_is_missing(tmp_path):
    command = [sys.executable, "-m", "tests.parity", "balm", str(tmp_path / "none.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_exceeds_every_tolerance(value):
    results = list(compare(Quantity("out/pred", torch.tensor([1.0, value]), torch.ones(2))))
    assert exceeded(results) == {"out/pred"}


def test_parameters_after_steps_may_differ_by_a_twentieth_of_the_learning_rate_in_one_element_of_a_thousand():
    published = torch.zeros(2000)
    within, outside, too_many = (published.clone() for _ in range(3))
    within[0], outside[0], too_many[:10] = 4e-4, 6e-4, 4e-4
    verdicts = [
        [result.holds for result in compare(Quantity("after3/x", ours, published, learning_rate=0.01))]
        for ours in (within, outside, too_many)
    ]
    assert verdicts == [[True, True], [False, True], [True, False]]
