"""UniTime equals the published numbers in compat mode, and the comparison would notice if it did not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.comparison import Golden
from tests.parity.unitime import quantities

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return read_golden(shared / "golden" / "unitime_small_a.npz")


def exceeded(golden: Golden) -> set[str]:
    return {result.name for result in comparisons("unitime", golden) if not result.holds}


def test_every_published_array_is_compared_and_equal(golden):
    results = comparisons("unitime", golden)
    assert [str(result) for result in results if not result.holds] == []
    kinds = ("mid/", "out/", "alt/", "grad/", "after3/", "after3_losses", "after3_grad_norms", "trainable_names")
    compared = {re.sub(r" \(.*", "", result.name) for result in results}
    assert {name for name in golden if name.startswith(kinds)} == compared


@pytest.mark.parametrize(
    ("parameter", "first_wrong"),
    [
        ("feature_embedding.weight", "mid/feature_embedding"),
        ("binary_indicator_embedding.bias", "mid/mask_embedding"),
        ("gate_w2.weight", "mid/gate"),
        ("feature_projection.bias", "mid/ts_tokens"),
        ("backbone.transformer.wte.weight", "mid/lm_input"),
        ("backbone.transformer.wpe.weight", "mid/lm_output"),
        ("pad_token", "mid/dec_input"),
        ("dec_transformer.layers.1.linear1.weight", "mid/dec_layer_1"),
        ("dec_head.linear.bias", "mid/head_output"),
    ],
)
def test_a_changed_parameter_is_noticed_where_it_is_read(golden, parameter, first_wrong):
    changed = dict(golden)
    changed[f"param/{parameter}"] = golden[f"param/{parameter}"] * np.float32(1.01) + np.float32(1e-2)
    names = exceeded(changed)
    assert {first_wrong, "after3_losses"} <= names
    assert "mid/x_norm" not in names


def test_a_mask_of_ones_is_noticed(golden):
    names = exceeded({**golden, "in/mask0": np.ones_like(golden["in/mask0"])})
    assert {"mid/mean", "out/loss"} <= names and "alt/eval_forecast" not in names


def test_another_limit_of_the_gradient_is_noticed(golden):
    assert "after3_losses" in exceeded({**golden, "cfg/clip": np.array(0.01)})


def test_the_command_exits_one_for_a_changed_file(golden, tmp_path, capsys):
    np.savez(tmp_path / "changed.npz", **{**golden, "out/pred": golden["out/pred"] * np.float32(1.001)})
    assert main(["unitime", str(tmp_path / "changed.npz")]) == 1
    exceeding = [line for line in capsys.readouterr().out.splitlines() if line.endswith("EXCEEDED")]
    assert [line.split()[0] for line in exceeding] == ["out/pred"]


def test_a_file_of_other_sizes_is_built_and_run(golden):
    """One block, one channel, patches that overlap, an odd look-back: what we compute of it fits the file."""
    generator = np.random.default_rng(0)
    absent = re.compile(r".*(transformer\.h\.1\.|layers\.1\.|dec_layer_1$)")
    other = {name: value for name, value in golden.items() if not absent.match(name)}
    for index in range(3):
        other[f"in/x{index}"] = generator.normal(size=(2, 51, 1)).astype(np.float32)
        other[f"in/y{index}"] = generator.normal(size=(2, 20, 1)).astype(np.float32)
        other[f"in/mask{index}"] = generator.integers(2, size=(2, 51, 1)).astype(np.float32)
    sizes = {"B": 2, "N": 1, "seq_len": 51, "stride": 8, "lm_layer_num": 1, "dec_trans_layer_num": 1, "n_patches": 7}
    other |= {f"cfg/{name}": np.int64(value) for name, value in sizes.items()}
    other["trainable_names"] = np.array([name for name in golden["trainable_names"] if not absent.match(name)])
    assert "out/pred" in exceeded(other)
    ours = {quantity.name: quantity.ours.detach().numpy() for quantity in quantities(other)}
    assert ours["mid/patches"].shape == (2, 7, 16)
    computed = {name for name in ours if name.startswith(("mid/", "out/", "alt/", "after3_"))}
    wrong = exceeded({**other, **{name: ours[name] for name in computed}})
    assert wrong <= {name for name in ours if name.startswith(("grad/", "after3/"))}
