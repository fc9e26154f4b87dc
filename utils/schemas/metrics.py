"""metrics.json and history.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import float_info
from typing import Annotated, Any, NotRequired

from pydantic import Field, FiniteFloat, WrapValidator
from typing_extensions import TypedDict

from utils.schemas.checking import shown
from utils.schemas.kinds import LARGEST_ERROR, Count, Error, Measure, Positive


class TestCell(TypedDict, total=False):
    """What a test of a model is a result of, where that is not the data and horizon of the run."""

    data: str
    seq_len: Positive
    pred_len: Positive


class _TestEntry(TypedDict):
    """The test errors on one data set in scaled units; `measures` names those that tables show, in order.

    `own_file` is the SHA-256 of a zero-shot target that is a table of one's own.
    """

    mse: Error
    mae: Error
    measures: Annotated[list[Measure], Field(min_length=1)]
    cell: NotRequired[TestCell]
    naive: NotRequired[dict[str, dict[Measure, Error]]]
    coverage: NotRequired[dict[str, FiniteFloat | dict[str, list[FiniteFloat]]]]
    below_quantile: NotRequired[dict[str, FiniteFloat | dict[str, list[FiniteFloat]]]]
    per_channel: NotRequired[dict[str, list[str] | list[Annotated[FiniteFloat, Field(ge=0)]]]]
    per_step: NotRequired[dict[str, list[Error]]]
    mse_original: NotRequired[Annotated[FiniteFloat, Field(ge=0)]]
    mae_original: NotRequired[Annotated[FiniteFloat, Field(ge=0)]]
    num_windows: NotRequired[Count]
    num_rows: NotRequired[Count]
    own_file: NotRequired[str]


def _tested(entry: Any, validated: Callable[[Any], Any]) -> Any:
    """Check that every measure that is named is there, and that lists have one value per channel or step."""
    # The result lacks what the schema does not name, such as further measures.
    validated(entry)
    for name in entry["measures"]:
        if name not in entry:
            raise ValueError(f"{name} is named as a measure and missing")
        for key, largest in ((name, LARGEST_ERROR), (f"{name}_original", float_info.max)):
            value = entry.get(key, 0.0)
            # Comparing a whole number of many digits with infinity would find it smaller.
            if type(value) not in (int, float) or not abs(value) <= largest:
                raise ValueError(f"{key} should be a finite number, not {shown(value)}")
    channels = entry.get("per_channel")
    if channels is not None:
        names = channels.get("columns")
        if names is None or not all(isinstance(name, str) for name in names):
            raise ValueError("per_channel should have the names of its columns")
        numbers = {name: values for name, values in channels.items() if name != "columns"}
        if any(isinstance(value, str) for values in numbers.values() for value in values):
            raise ValueError("per_channel should have numbers only, but for its columns")
        _of_one_length(channels, "per_channel")
    _of_one_length(entry.get("per_step") or {}, "per_step")
    return entry


TestEntry = Annotated[_TestEntry, WrapValidator(_tested)]


class Validation(TypedDict, total=False):
    """The validation errors of the best epoch."""

    mse: FiniteFloat
    mae: FiniteFloat
    best_epoch: Count


class Parameters(TypedDict, total=False):
    """Numbers of parameters."""

    total: Count
    trainable: Count
    inference: Count


class Memory(TypedDict, total=False):
    """Peak memory use in bytes; 0 on a device that the run has not."""

    host: Count
    device: Count


class Metrics(TypedDict):
    """metrics.json. `tests` has an entry per data set that the model was tested on, by its name."""

    model: str
    task_name: str
    data: str
    seq_len: Positive
    pred_len: Positive
    percent: Annotated[int, Field(ge=1, le=100)]
    seed: Count
    tests: dict[str, TestEntry]
    run_id: NotRequired[str]
    features: NotRequired[str]
    labels: NotRequired[list[str]]
    validation: NotRequired[Validation]
    epochs: NotRequired[Count]
    steps: NotRequired[Count]
    seconds: NotRequired[dict[str, FiniteFloat]]
    rows_per_second: NotRequired[FiniteFloat]
    seconds_per_step: NotRequired[FiniteFloat]
    chance: NotRequired[dict[str, FiniteFloat]]
    peak_memory_bytes: NotRequired[Memory]
    parameters: NotRequired[Parameters]
    device: NotRequired[str]
    device_name: NotRequired[str]
    precision: NotRequired[str]
    num_processes: NotRequired[Positive]
    history_sha256: NotRequired[str]


class Epoch(TypedDict):
    """A line of history.jsonl: mean training losses and validation errors of an epoch, counted from 1."""

    epoch: Positive
    train: NotRequired[dict[str, FiniteFloat]]
    validation: NotRequired[dict[str, FiniteFloat]]
    learning_rate: NotRequired[FiniteFloat]


def _of_one_length(lists: dict[str, Sequence[Any]], name: str) -> None:
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name} should have lists of one length, not {lengths}")
