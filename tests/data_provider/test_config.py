"""Flags of the data: defaults, refusals."""

import pytest

from data_provider.config import DataConfig
from data_provider.datasets import DATASETS
from utils.flags.parsing import FlagParser


def test_flags_are_made_of_the_dataclass_and_their_help_can_be_printed():
    parser = FlagParser((DataConfig,))
    config, unknown = parser.parse_args_into_dataclasses(
        ["--data", "ETTh1", "--features", "MS", "--seq_len", "96", "--foreign", "1"], return_remaining_strings=True
    )
    assert (config.data, config.features, config.seq_len, config.split) == ("ETTh1", "MS", 96, None)
    assert unknown == ["--foreign", "1"]
    assert "few-shot" in parser.format_help()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"data": "ETTh3"}, r"--data ETTh3 is not known: the nearest are ETTh\d, ETTh\d"),
        ({"data": "wether"}, "the nearest are Weather"),
        ({"percent": 0}, "--percent must be in 1..100, got 0"),
        ({"percent": 101}, "--percent must be in 1..100, got 101"),
        ({"seq_len": 0}, "--seq_len must be at least 1"),
        ({"pred_len": -1}, "--pred_len must be at least 1"),
        ({"data": "custom"}, "needs --data_path"),
        ({"data": "ETTh1", "split": "0.7,0.1,0.2"}, "--split only has a meaning with --data custom"),
    ],
)
def test_a_wrong_flag_is_named_with_rule_and_value(flags: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DataConfig(**flags)


def test_every_benchmark_with_a_hash_has_a_size_and_borders_lie_within_its_rows():
    for name, benchmark in DATASETS.items():
        assert (benchmark.sha256 is None) == (benchmark.num_bytes is None), name
        if benchmark.borders is not None:
            train, validation, test = benchmark.borders
            assert 0 < train < validation < test <= benchmark.num_rows, name


def test_a_benchmark_keeps_its_published_split_and_the_refusal_says_how_to_get_another():
    with pytest.raises(ValueError, match=r"as published.*--data custom --data_path dataset/ETT-small/ETTh1.csv"):
        DataConfig(data="ETTh1", split="0.6,0.2,0.2")
