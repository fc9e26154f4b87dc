"""Training from Python: `train(table, model="DLinear", seq_len=96, pred_len=24)`."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from data_provider.config import DataConfig
from data_provider.datasets import CUSTOM, DATASETS, M4, unknown_name_message
from exp import task_class
from exp.command_line import parse_command
from exp.config import TrackConfig, TrainConfig
from exp.exp_basic import Experiment, FinishedRun
from exp.predict.forecaster import FittedForecaster, restore_forecaster
from models import model_class
from utils.flags.parsing import flag_names
from utils.python_errors import python_errors

TASK = "long_term_forecast"
SAID_OTHERWISE = {
    "data_path": "data names the file",
    "is_training": "load_forecaster reads a finished run",
    "itr": "call train once for each seed",
    "seeds": "call train once for each seed",
    "task_name": "train has one task; the others are commands (docs/tasks.md)",
}


def train(
    data: pd.DataFrame | str | Path, *, model: str = "BALM", name: str = "table", **settings: Any
) -> FittedForecaster:
    """Train `model` on `data`, test it, and return it ready to forecast; its run folder lies in `output_dir`.

    `data` is a data frame with dates as a column or the index (called `name` in the run id), the path of a table, or
    the name of a benchmark set. `settings` are the flags of the command: `seq_len=96, pred_len=24, train_epochs=3,
    split="2024-01-01,2024-06-01", columns=["load", "price"]`. The same call again returns the run that is there, or
    resumes it if it was interrupted; `overwrite=True` trains anew. Raises ValueError or FileNotFoundError, before
    anything is written, for wrong settings or data.
    """
    instead = {"data_path": "data"}
    with python_errors(), _data_flags(data, name) as given, python_errors(instead, frame=_path_of_frame(given)):
        _check_names(settings, model)
        parsed = parse_command([f"--model={model}", *_words({**given, **settings})])
        experiment_class = task_class(TASK)
        assert issubclass(experiment_class, Experiment)
        try:
            experiment = experiment_class(parsed.with_seed(parsed.train.seed))
            experiment.run()
            folder = experiment.folder
        except FinishedRun as finished:
            folder = finished.folder
        flag = parsed.model_class.code_flag
        code = {flag: getattr(parsed.model, flag)} if flag else {}
        return restore_forecaster(folder.path, device=parsed.train.device, elsewhere=code)


@contextmanager
def _data_flags(data: pd.DataFrame | str | Path, name: str) -> Iterator[dict[str, str]]:
    """The flags that name `data`; a data frame becomes a Parquet file for the time of the `with` block."""
    if isinstance(data, pd.DataFrame):
        if not name or Path(name).name != name:
            raise ValueError(f"name must be a file name without folders, got {name!r}")
        content = _parquet(data)
        # The path in the folder is recorded with the run, so it must be the same for the same data.
        path = Path(f"data_frame_{hashlib.sha256(content).hexdigest()[:12]}") / f"{name}.parquet"
        with tempfile.TemporaryDirectory(prefix="balm-") as folder:
            (folder / path).parent.mkdir()
            (folder / path).write_bytes(content)
            yield {"data": CUSTOM, "root_path": folder, "data_path": path.as_posix()}
    elif data == M4:
        raise ValueError(f"{M4} is many short series: the task short_term_forecast of the command reads it")
    elif data in DATASETS:
        yield {"data": str(data)}
    elif isinstance(data, str) and not Path(data).suffix and not Path(data).exists():
        raise ValueError(unknown_name_message(data))
    else:
        yield {"data": CUSTOM, "data_path": str(data)}


def _path_of_frame(flags: Mapping[str, str]) -> str:
    return str(Path(flags["root_path"]) / flags["data_path"]) if "root_path" in flags else ""


def _parquet(frame: pd.DataFrame) -> bytes:
    if isinstance(frame.index, pd.PeriodIndex):
        frame = frame.to_timestamp()
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index(names=frame.index.name or "date")
    frame = frame.rename(columns=str)
    try:
        return frame.to_parquet(index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the data frame has a column of mixed or unknown type: {reason}") from error


def _check_names(settings: Mapping[str, Any], model: str) -> None:
    for name, reason in SAID_OTHERWISE.items():
        if name in settings:
            raise ValueError(f"train takes no {name}: {reason}")
    known = flag_names([DataConfig, TrainConfig, TrackConfig, model_class(model).Config])
    wrong = [name for name in settings if name.startswith("no_") and name not in known]
    if wrong:
        raise ValueError(f"train takes no {wrong[0]}: give {wrong[0].removeprefix('no_')}=False")


def _words(settings: Mapping[str, Any]) -> list[str]:
    """The settings as the words of a command; None means the default."""
    words = []
    for name, value in settings.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            words += [f"--{name}={value}"] if value is not None else []
        else:
            words.append(f"--{name}={_listed(value)}")
    return words


def _listed(values: Sequence[Any]) -> str:
    """Values separated by commas, those that hold a comma in quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
