"""TimesNet equals the published numbers in compat mode, and the comparison would notice if it did not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.parity.__main__ import comparisons, main, read_golden
from tests.parity.comparison import Golden
from tests.parity.timesnet import quantities

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return read_golden(shared / "golden" / "timesnet_small_a.npz")


def exceeded(golden: Golden) -> set[str]:
    return {result.name for result in comparisons("timesnet", golden) if not result.holds}


def test_every_published_array_is_compared_and_equal(golden):
    results = comparisons("timesnet", golden)
    assert [str(result) for result in results if not result.holds] == []
    kinds = ("mid/", "out/", "alt/", "grad/", "after3/", "after3_losses", "after3_periods", "trainable_names")
    assert {name for name in golden if name.startswith(kinds)} == {result.name for result in results}


@pytest.mark.parametrize(
    ("parameter", "first_wrong"),
    [
        ("enc_embedding.value_embedding.tokenConv.weight", "mid/embedding"),
        ("enc_embedding.temporal_embedding.embed.weight", "mid/embedding"),
        ("predict_linear.weight", "mid/predict_linear"),
        ("model.0.conv.0.kernels.3.weight", "mid/inception1_0"),
        ("model.1.conv.2.kernels.0.bias", "mid/block_conv_1"),
        ("layer_norm.weight", "mid/norm_0"),
        ("projection.bias", "mid/projection"),
    ],
)
def test_a_changed_parameter_is_noticed_where_it_is_read(golden, parameter, first_wrong):
    changed = dict(golden)
    changed[f"param/{parameter}"] = golden[f"param/{parameter}"] * np.float32(1.01) + np.float32(1e-3)
    names = exceeded(changed)
    assert {first_wrong, "after3_losses"} <= names
    assert "mid/x_norm" not in names


def test_periods_of_each_row_instead_of_the_batch_are_noticed(golden, monkeypatch):
    from tests.parity import timesnet

    build = timesnet.build
    monkeypatch.setattr(timesnet, "build", lambda golden, **_: build(golden, batch_periods=False))
    assert {"mid/block_out_0", "out/pred", "after3_periods"} <= exceeded(golden)


def test_the_command_exits_one_for_a_changed_file(golden, tmp_path, capsys):
    np.savez(tmp_path / "changed.npz", **{**golden, "out/pred": golden["out/pred"] * np.float32(1.001)})
    assert main(["timesnet", str(tmp_path / "changed.npz")]) == 1
    exceeding = [line for line in capsys.readouterr().out.splitlines() if line.endswith("EXCEEDED")]
    assert [line.split()[0] for line in exceeding] == ["out/pred"]


def test_a_file_of_other_sizes_is_built_and_run(golden):
    """Three kernels, one block, one channel, four periods, an odd look-back: what we compute of it fits the file."""
    shapes = {
        "enc_embedding.value_embedding.tokenConv.weight": (6, 1, 3),
        "predict_linear.weight": (71, 47),
        "predict_linear.bias": (71,),
        "projection.weight": (1, 6),
        "projection.bias": (1,),
    }
    generator = np.random.default_rng(0)
    absent = re.compile(r".*(model\.1\.|kernels\.[345]\.|_1$)")
    other = {name: value for name, value in golden.items() if not absent.match(name) or name.startswith("in/")}
    for name, shape in shapes.items():
        other[f"param/{name}"] = generator.normal(size=shape).astype(np.float32)
    for index in range(3):
        other[f"in/x{index}"] = generator.normal(size=(2, 47, 1)).astype(np.float32)
        other[f"in/y{index}"] = generator.normal(size=(2, 24, 1)).astype(np.float32)
        other[f"in/x_mark{index}"] = golden[f"in/x_mark{index}"][:2, :47]
    sizes = {"B": 2, "N": 1, "seq_len": 47, "e_layers": 1, "num_kernels": 3, "top_k": 4}
    other |= {f"cfg/{name}": np.int64(value) for name, value in sizes.items()}
    other["trainable_names"] = np.array([name for name in golden["trainable_names"] if not absent.match(name)])
    assert "out/pred" in exceeded(other)
    ours = {quantity.name: quantity.ours.detach().numpy() for quantity in quantities(other)}
    assert ours["mid/block_conv_0"].shape == (2, 71, 6, 4)
    assert exceeded({**other, **ours, "trainable_names": other["trainable_names"]}) == set()
