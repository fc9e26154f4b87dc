"""Flags are exactly the fields of the chosen configs, and a refusal names everything that is wrong at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from transformers.hf_argparser import HfArg

from data_provider.config import DataConfig
from exp.command_line import parse_command
from exp.config import TrackConfig, TrainConfig
from utils.flags.foreign import FOREIGN_FLAGS
from utils.flags.parsing import flag_names, parse_flags


@dataclass(frozen=True)
class Sizes:
    """Two flags."""

    width: int = HfArg(default=3, help="a width")
    loud: bool = HfArg(default=True, help="loud or not")


def parsed(*words: str) -> Sizes:
    (sizes,) = parse_flags([Sizes], words, belongs_to={"lora_rank": "--model CALF"}, prog="run.py")
    return sizes


def test_values_and_their_negation_arrive():
    assert parsed("--width", "7", "--no_loud") == Sizes(7, False)


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (["--widht", "7"], ["--widht is not a flag, did you mean --width?"]),
        (["--lora_rank", "4"], ["--lora_rank belongs to --model CALF"]),
        (["--dec_in", "7", "--factor", "1"], ["--dec_in (Time-Series-Library) means nothing here", "--factor (Time"]),
        (["--use_amp"], ["--precision bf16"]),
        (["--width", "wide"], ["--width", "wide"]),
        (["7"], ["unexpected words among the flags: 7"]),
        (["--wid", "7"], ["--wid is not a flag"]),
    ],
)
def test_a_refusal_is_one_line_that_names_what_is_wrong(words, reasons):
    with pytest.raises(ValueError) as caught:
        parsed(*words)
    assert "\n" not in str(caught.value)
    assert all(reason in str(caught.value) for reason in reasons)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "BALMM"], "BALM"),
        (["--model"], "--model needs a value: BALM"),
        (["--model", "--data", "demo"], "--model needs a value"),
        (["--task-name="], "--task_name needs a value: long_term_forecast"),
        (["--task_name", "anomaly_detection"], "--task_name"),
        (["--model", "BALM", "--lora_rank", "4"], "--lora_rank belongs to --model CALF"),
        (["--model", "DLinear", "--batch_size", "0"], "--batch_size must be at least 1, got 0"),
        (["--model", "DLinear", "--learning_rate", "nan"], "--learning_rate must be a positive number"),
        (["--model", "DLinear", "--seeds", "1", "2", "--itr", "3"], "--seeds and --itr"),
        (["--model", "DLinear", "--data", "ETTh9"], "ETTh1"),
    ],
)
def test_a_command_that_cannot_be_is_refused_in_one_line(words, reason):
    with pytest.raises(ValueError) as caught:
        parse_command(words)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_flag_of_data_or_training_is_called_foreign():
    assert not flag_names([DataConfig, TrainConfig, TrackConfig]) & set(FOREIGN_FLAGS)


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (["--lr", "0.1"], "--lr is called --learning_rate here (see --help)"),
        (["--epochs", "3"], "--epochs is called --train_epochs here"),
        (["--loss", "MSE"], "here it is --loss mse"),
        (["--lradj", "type1"], "here it is --lradj halving"),
        (["--device", "cuda:0"], "here it is --device auto"),
        (["--model", "Autoformer"], "--model tslib:Autoformer --tslib_path"),
    ],
)
def test_what_people_type_from_habit_gets_its_name_here(words, way_out):
    with pytest.raises(ValueError) as caught:
        parse_command(["--model", "DLinear", *words])
    assert way_out in str(caught.value)


def test_what_follows_the_recipe_is_a_change_of_it():
    words = ["--model", "DLinear", "--batch_size", "8", "--recipe", "published"]
    assert parse_command(words).recipe_changes == {}
    changed = [*words, "--batch_size", "8", "--learning_rate", "0.5", "--seed", "3", "--pred_len", "24"]
    assert parse_command(changed).recipe_changes == {"learning_rate": 0.5}
    assert parse_command(["--model", "DLinear"]).recipe_changes is None


def test_a_task_without_training_is_no_command_of_a_queue_or_notebook():
    with pytest.raises(ValueError, match="--task_name predict forecasts with a finished run and trains none"):
        parse_command(["--model", "DLinear", "--task_name", "predict"])
