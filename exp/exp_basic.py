"""Settings of a command, and the base classes of training tasks and of tasks on a checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from data_provider.config import DataConfig
from exp.config import TrackConfig, TrainConfig
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.files import locked
from utils.flags import flag_roles, place_flags
from utils.run_folder import RunFolder
from utils.tracking import Tracking

logger = logging.getLogger(__name__)
LONGEST_NAME, SHORTENED = 200, 24


@dataclass(frozen=True)
class Settings:
    """All configs of a training command."""

    task_name: str
    model_name: str
    model_class: type[Forecaster]
    data: DataConfig
    model: Any
    train: TrainConfig
    track: TrackConfig
    task: tuple[Any, ...] = ()
    command: tuple[str, ...] = ()

    def with_seed(self, seed: int) -> Settings:
        """The same settings for one run of several; a trial run (`--fast_dev_run`) has one epoch."""
        epochs = 1 if self.train.fast_dev_run else self.train.train_epochs
        return replace(self, train=replace(self.train, seed=seed, seeds=[], itr=1, train_epochs=epochs))

    def record(self) -> dict[str, Any]:
        """Every flag as JSON values, for config.json and checkpoints."""
        return {
            "task_name": self.task_name,
            "model": self.model_name,
            "data_config": asdict(self.data),
            "model_config": asdict(self.model),
            "train_config": asdict(self.train),
            "task_config": {name: value for config in self.task for name, value in asdict(config).items()},
        }

    def flag_roles(self) -> dict[str, str]:
        """Flag -> role (`utils.flags.flag_roles`) of all flags of this command that have one."""
        return flag_roles(type(config) for config in (self.data, self.train, self.track, self.model, *self.task))


def run_id(settings: Settings, *, data: str, fingerprint: str, determinants: Mapping[str, Any]) -> str:
    """Name of the run folder: readable parts and a hash of everything that determines the result.

    The hash covers all flags but those with the role "place" and those of a model's `flags_added_later` that have their
    default (runs of earlier versions keep their ids), the `fingerprint` of the series `data`, and
    `determinants`. A long name of the data is shortened; ValueError if --model_id or --des make it too long.
    """
    record, train, place = settings.record(), settings.train, place_flags(settings.flag_roles())
    # The hash depends on the content of the data file, not on its path.
    record["data_config"] |= {"root_path": "", "data_path": "", "fingerprint": fingerprint}
    record["train"] = record.pop("train_config")
    roles = settings.flag_roles()
    for part in ("data_config", "task_config"):
        # Flags of reading came later than the first runs, whose ids they must not change.
        record[part] = {
            name: value for name, value in record[part].items() if roles.get(name) != "reading" or value is not None
        }
    for part in ("model_config", "train", "task_config"):
        record[part] = {name: value for name, value in record[part].items() if name not in place}
    added = getattr(type(settings.model), "flags_added_later", ())
    defaults = {field.name: field.default for field in fields(settings.model) if field.name in added}
    record["model_config"] = {
        name: value for name, value in record["model_config"].items() if name not in added or value != defaults[name]
    }
    text = json.dumps({**record, **determinants}, sort_keys=True, default=str)
    percent, lengths = settings.data.percent, (settings.data.seq_len, settings.data.pred_len)
    before = [train.model_id, settings.model_name]
    after = [
        f"{percent}pct" if percent < 100 else "", *map(str, lengths), f"seed{train.seed}", train.des,
        hashlib.sha256(text.encode()).hexdigest()[:8],
    ]  # fmt: skip
    name = _folder_name([*before, data, *after])
    if len(name.encode()) > LONGEST_NAME:
        # Most often the table has a long file name, which no flag can shorten; the hash tells two apart.
        name = _folder_name([*before, data[:SHORTENED], *after])
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"the run id would have {len(name.encode())} bytes, more than the {LONGEST_NAME} that a folder name may "
            "have: shorten --model_id or --des"
        )
    return name


def _folder_name(parts: Sequence[str]) -> str:
    return re.sub(r"[^\w.+-]+", "-", "_".join(part for part in parts if part)).lstrip(".-")


class Experiment(ABC):
    """Base class of the tasks that train. Only `run` writes: it trains, tests and fills the run folder."""

    task_configs: ClassVar[tuple[type, ...]] = ()
    folder: RunFolder

    def __init__(self, settings: Settings):
        self.settings = settings
        self.runtime = Runtime(settings.train, settings.track)
        self.runtime.seed_everything()
        self.tracking = self._tracking()

    def _tracking(self) -> Tracking:
        track = self.settings.track
        if track.track == "none" or not self.runtime.is_main:
            return Tracking()
        from utils.trackers import AccelerateTracking

        return AccelerateTracking(track.track, track.track_project, self.runtime.accelerator)  # pyright: ignore

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Train and test. Returns the content of metrics.json."""

    @abstractmethod
    def closing_text(self, metrics: dict[str, Any]) -> str:
        """The text that is printed at the end of the run."""

    @contextmanager
    def folder_taken(self, record: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Lock the run folder for the `with` block, after writing `record`, if any, to its config.json.

        Raises OSError if another process holds the lock, or if not all ranks see the folder.
        """
        with ExitStack() as held:
            self.runtime.on_main(lambda: self._take_folder(held, record))
            self.runtime.run_on_all_ranks(self._see_folder)
            yield

    def _see_folder(self) -> None:
        if not self.folder.config.exists():
            raise FileNotFoundError(
                f"--output_dir {self.settings.train.output_dir} is not the same folder for all processes: name one "
                "that every machine of this run sees"
            )

    def _take_folder(self, held: ExitStack, record: Mapping[str, Any] | None) -> None:
        self.folder.create()
        held.enter_context(locked(self.folder.lock))
        self.folder.prepare(starts_anew=self.settings.train.overwrite and record is not None)
        if record is not None:
            command, roles = list(self.settings.command), self.settings.flag_roles()
            self.folder.write_config({**record, "flag_roles": roles, "command": command})

    def folder_for(self, run_id: str) -> RunFolder:
        """The run folder `run_id`. Raises ValueError if the run is finished (or is not, with `--is_training 0`)."""
        train = self.settings.train
        folder = RunFolder(Path(train.output_dir) / run_id)
        if folder.is_finished and train.is_training and not train.overwrite:
            if self.runtime.is_main:
                folder.sweep()
            raise FinishedRun(folder)
        if not folder.is_finished and not train.is_training:
            raise ValueError(f"--is_training 0 tests a finished run, but {folder.path} holds none: train it first")
        return folder


class CheckpointTask(ABC):
    """Base class of the tasks on the checkpoint of a finished run, which holds the model and data flags.

    Such a task has only the flags of `task_configs`; its constructor writes nothing.
    """

    task_configs: ClassVar[tuple[type, ...]] = ()
    description: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, *configs: Any):
        """Load and check what the configs, in the order of `task_configs`, name."""

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Run the task. Returns the input of `closing_text`."""

    @abstractmethod
    def closing_text(self, result: dict[str, Any]) -> str:
        """The text that is printed at the end."""


class FinishedRun(ValueError):
    """A finished run of the same id exists; it is kept."""

    def __init__(self, folder: RunFolder):
        super().__init__(
            f"{folder.path} holds a finished run of exactly these flags, which is kept: give --overwrite to run it "
            "again, --is_training 0 to test it again, or another --seed or --des for a run beside it"
        )
        self.folder = folder
