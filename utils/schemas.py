"""What the files of a run hold, checked where they are read: config.json, metrics.json, history.jsonl, checkpoints.

Each file has one schema. Entries that a schema does not name are kept, so that a newer version can add some.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from utils.files import DamagedFile

LARGEST = 2**53
MAX_SHOWN = 60

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Scale = Annotated[FiniteFloat, Field(gt=0)]
# Errors in scaled units: float32 forecasts cannot have larger ones.
Error = Annotated[FiniteFloat, Field(ge=0, le=1e100)]
# Columns of the table of results, which no measure can be called like.
OTHER_COLUMNS = frozenset(
    "labels task_name features seq_len percent data pred_len name model variant seed horizon measure num_windows "
    "validation_mse validation_mae best_epoch epochs steps rows_per_second seconds_per_step seconds_training "
    "seconds_test seconds_total peak_host_bytes peak_device_bytes total trainable inference device device_name "
    "precision num_processes git_revision code edited python_version torch_version transformers_version run_id folder "
    "labelled columns".split()
)


def _time_step(text: str) -> str:
    from utils.time_steps import check_time_step

    check_time_step(text)
    return text


def _date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _measure(name: str) -> str:
    if not name.isidentifier() or name in OTHER_COLUMNS or name.endswith("_original"):
        raise ValueError(f"{name[:MAX_SHOWN]!r} is no name of a measure")
    return name


Measure = Annotated[str, AfterValidator(_measure)]
TimeStep = Annotated[str, AfterValidator(_time_step)]
Date = Annotated[str, AfterValidator(_date)]


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


def _tested(entry: Any) -> Any:
    """Check that every measure that is named is there, and that lists have one value per channel or step."""
    for name in entry["measures"]:
        for key in (name, f"{name}_original"):
            if not isinstance(entry.get(key, 0.0), int | float) or not abs(entry.get(key, 0.0)) < float("inf"):
                raise ValueError(f"{key} should be a finite number, not {_shown(entry[key])}")
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


TestEntry = Annotated[_TestEntry, AfterValidator(_tested)]


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


class Scaler(TypedDict):
    """Mean and scale of each channel in original units."""

    mean: list[FiniteFloat]
    scale: list[Scale]


class KnownFutureRecord(TypedDict):
    """Columns whose future is known, and their scaler."""

    columns: list[str]
    scaler: Scaler


class SeriesRecord(TypedDict, total=False):
    """The data set of a run without its values."""

    name: str
    columns: list[str]
    target_channels: list[Count]
    time_step: TimeStep
    season_length: Positive
    fingerprint: str
    description: str
    is_panel: bool
    known_future: KnownFutureRecord
    scaler: Scaler


def _of_these_channels(series: Any) -> Any:
    """Check that scaler, columns and evaluated channels fit one another."""
    scaler, targets = series.get("scaler"), series.get("target_channels", [])
    columns = series.get("columns", scaler["mean"] if scaler else None)
    if scaler and not len(scaler["mean"]) == len(scaler["scale"]) == len(columns):
        raise ValueError("scaler should have a mean and a scale for each column")
    if columns is not None and any(channel >= len(columns) for channel in targets):
        raise ValueError(f"target_channels should be below the {len(columns)} columns, not {_shown(targets)}")
    return series


class SourceRecord(TypedDict, total=False):
    """The source files of a run with their hashes (`utils.source.source_record`)."""

    files: dict[str, str]
    hash: str
    edited: list[str] | None
    other_codes: list[str]


class Config(TypedDict, total=False):
    """config.json: every flag with its role (see `flag_roles` in utils/flags/parsing.py), and what code ran.

    `series` describes the data (columns, evaluated channels, scaler), `model_defaults` are the model's flags as they
    are without being given, and `command` is what was typed. `recipe_changes` are the flags that differ from the recipe
    (None without `--recipe`).
    """

    run_id: str
    data_config: dict[str, Any]
    train_config: dict[str, Any]
    model_config: dict[str, Any]
    task_config: dict[str, Any]
    model_defaults: dict[str, Any]
    flag_roles: dict[str, str]
    series: Annotated[SeriesRecord, AfterValidator(_of_these_channels)]
    command: list[str]
    git_revision: str | None
    versions: dict[str, str]
    code_hashes: dict[str, str]
    source: SourceRecord
    recipe_changes: dict[str, Any] | None


class Epoch(TypedDict):
    """A line of history.jsonl: mean training losses and validation errors of an epoch, counted from 1."""

    epoch: Positive
    train: NotRequired[dict[str, FiniteFloat]]
    validation: NotRequired[dict[str, FiniteFloat]]
    learning_rate: NotRequired[FiniteFloat]


class WholeSeries(TypedDict):
    """The data set in a checkpoint, from which a forecast gets its columns, scale and dates."""

    name: str
    columns: Annotated[list[str], Field(min_length=1)]
    target_channels: Annotated[list[Count], Field(min_length=1)]
    time_step: TimeStep
    season_length: Positive
    fingerprint: str
    description: NotRequired[str]
    is_panel: NotRequired[bool]
    known_future: NotRequired[KnownFutureRecord]
    scaler: Scaler


class TrainedWith(TypedDict):
    """What a forecast reads of a run's training flags."""

    seed: Count


class ModelHeader(TypedDict):
    """The header of a checkpoint that can be forecast with."""

    model: str
    model_config: dict[str, Any]
    data_config: dict[str, Any]
    train_config: TrainedWith
    series: Annotated[WholeSeries, AfterValidator(_of_these_channels)]
    backbone_fingerprint: dict[str, Any]
    precision: str
    run_id: NotRequired[str]
    labels: NotRequired[list[str]]
    code_hashes: NotRequired[dict[str, str]]
    source: NotRequired[SourceRecord]


class BestHeader(TypedDict):
    """What best.safetensors says of its epoch."""

    epoch: Count
    validation: dict[str, FiniteFloat]


class Group(TypedDict):
    """What a schedule changes in a parameter group of the optimiser."""

    lr: FiniteFloat
    betas: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
    params: list[Count]


class Timing(TypedDict):
    """A line of timing.jsonl: seconds and rows of the training up to the end of an epoch."""

    epoch: Positive
    seconds: FiniteFloat
    rows: Count


class ProgressRecord(TypedDict):
    """Epochs, steps and rows done so far, and the history of both."""

    epoch: Count
    step: Count
    rows: Count
    sums: dict[str, FiniteFloat]
    total_steps: Count
    total_rows: Count
    seconds: FiniteFloat
    history: list[Epoch]
    timing: list[Timing]


class StoppingRecord(TypedDict):
    """Early stopping: the best validation error so far and its epoch."""

    patience: Positive
    best: FiniteFloat | None
    best_epoch: Count
    epochs_without_improvement: Count


class State(TypedDict):
    """The state of a training in the header of last.safetensors; `own` is that of each process."""

    progress: ProgressRecord
    own: Annotated[list[dict[str, FiniteFloat]], Field(min_length=1)]
    stopping: StoppingRecord
    schedule: dict[str, Any]
    groups: list[Group]


class LastHeader(TypedDict):
    """The header of a checkpoint that a training goes on from."""

    state: State


class IntervalHeader(TypedDict):
    """The header of intervals.safetensors."""

    levels: Annotated[list[Annotated[FiniteFloat, Field(gt=0, lt=1)]], Field(min_length=1)]
    num_errors: Count


class ForecastHeader(TypedDict):
    """The header of forecasts.safetensors."""

    columns: Annotated[list[str], Field(min_length=1)]
    first_dates: Annotated[list[Date], Field(min_length=1)]
    time_step: TimeStep
    remarks: NotRequired[list[str]]
    level: NotRequired[FiniteFloat]


def checked(value: Any, schema: Any, source: object) -> Any:
    """`value`, if it fits the schema. Raises DamagedFile, which names `source`, the place in it and what is there."""
    try:
        _adapter(schema).validate_python(value, strict=True)
    except (ValidationError, RecursionError) as error:
        raise DamagedFile(f"{source}: {_reason(error)}") from error
    return value


@cache
def _adapter(schema: Any) -> Any:
    return TypeAdapter(schema)


def _reason(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.errors(include_url=False)[0]
    place = "/".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    found = "" if first["type"] in ("missing", "value_error") else f", not {_shown(first['input'])}"
    return f"{place}: {message}{found}" if place else f"{message}{found}"


def _shown(value: Any) -> str:
    try:
        return repr(value)[:MAX_SHOWN]
    except (ValueError, RecursionError):  # thousands of digits, nested without end
        return f"this {type(value).__name__}"


def _of_one_length(lists: dict[str, Sequence[Any]], name: str) -> None:
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name} should have lists of one length, not {lengths}")
