"""config.json."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, FiniteFloat
from typing_extensions import TypedDict

from utils.schemas.checking import shown
from utils.schemas.kinds import Count, Positive, Scale, TimeStep


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


def of_these_channels(series: Any) -> Any:
    """Check that scaler, columns and evaluated channels fit one another."""
    scaler, targets = series.get("scaler"), series.get("target_channels", [])
    columns = series.get("columns", scaler["mean"] if scaler else None)
    if scaler and not len(scaler["mean"]) == len(scaler["scale"]) == len(columns):
        raise ValueError("scaler should have a mean and a scale for each column")
    if columns is not None and any(channel >= len(columns) for channel in targets):
        raise ValueError(f"target_channels should be below the {len(columns)} columns, not {shown(targets)}")
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
    series: Annotated[SeriesRecord, AfterValidator(of_these_channels)]
    command: list[str]
    git_revision: str | None
    versions: dict[str, str]
    code_hashes: dict[str, str]
    source: SourceRecord
    recipe_changes: dict[str, Any] | None
