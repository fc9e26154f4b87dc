"""Headers of the files of tensors: weights, states of a training, intervals, sample forecasts."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, FiniteFloat
from typing_extensions import TypedDict

from utils.schemas.config import KnownFutureRecord, Scaler, SourceRecord, of_these_channels
from utils.schemas.kinds import Count, Date, Positive, TimeStep
from utils.schemas.metrics import Epoch


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
    series: Annotated[WholeSeries, AfterValidator(of_these_channels)]
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
