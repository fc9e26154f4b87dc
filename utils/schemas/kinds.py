"""Kinds of values in the records of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat

from utils.schemas.checking import MAX_SHOWN

LARGEST = 2**53

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Scale = Annotated[FiniteFloat, Field(gt=0)]
# Errors in scaled units: float32 forecasts cannot have larger ones.
LARGEST_ERROR = 1e100
Error = Annotated[FiniteFloat, Field(ge=0, le=LARGEST_ERROR)]
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
    if not name.isidentifier() or name in OTHER_COLUMNS or name.endswith(("_original", "_used")):
        raise ValueError(f"{name[:MAX_SHOWN]!r} is no name of a measure")
    return name


Measure = Annotated[str, AfterValidator(_measure)]
TimeStep = Annotated[str, AfterValidator(_time_step)]
Date = Annotated[str, AfterValidator(_date)]
