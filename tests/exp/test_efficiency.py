"""What models cost, in one table."""

from __future__ import annotations

import pytest

from exp.efficiency import arguments_of_models, efficiency_table, main, measure, published_table

TINY = ["--data", "demo", "--seq_len", "24", "--pred_len", "8", "--batch_size", "4", "--device", "cpu"]


def test_a_trained_model_is_measured_with_its_parameters_memory_and_seconds():
    found = measure(["--model", "DLinear", *TINY], 2)
    assert (found.total, found.trainable, found.inference) == (2 * (24 * 8 + 8),) * 3
    assert found.seconds > 0 and found.training_seconds is not None and found.training_seconds > 0
    assert found.rows == 8 and found.memory >= 0


def test_a_model_without_parameters_has_no_training_time_and_no_share():
    found = measure(["--model", "LastValue", *TINY], 1)
    assert found.training_seconds is None
    ((heads, cells),) = efficiency_table([found], "cost").rows
    assert heads == ["LastValue"] and [cell.text for cell in cells][3] == "-"


def test_each_model_gets_the_flags_that_it_has():
    flags = arguments_of_models(["DLinear", "PatchTST"], ["--batch_size", "4", "--patch_len", "8"])
    assert flags["DLinear"] == ["--model", "DLinear", "--batch_size", "4"]
    assert flags["PatchTST"] == ["--model", "PatchTST", "--batch_size", "4", "--patch_len", "8"]


def test_a_flag_that_no_model_has_is_named(capsys):
    with pytest.raises(ValueError, match="--lora_rank: no flag of DLinear"):
        arguments_of_models(["DLinear"], ["--lora_rank", "4"])
    assert main(["--models", "DLinear", "--iterations", "0"]) == 2
    assert main(["--models", "Delinear"]) == 2
    assert "--model Delinear is unknown" in capsys.readouterr().err


def test_published_costs_stand_beside_ours_for_the_same_data_and_horizon():
    table = published_table("ETTm1", 96)
    assert table is not None
    texts = {heads[0]: [cell.text for cell in cells] for heads, cells in table.rows}
    assert texts["BALM"] == ["82.88 M", "0.97 M", "1.17 %", "231.30 MiB", "0.0218"]
    assert published_table("ETTm1", 192) is None
