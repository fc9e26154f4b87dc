"""Settings of a command, and the base classes of training tasks and of tasks on a checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from data_provider.config import DataConfig
from exp.config import TrackConfig, TrainConfig
from exp.training.runtime import Runtime
from models import MODELS, model_class
from models.base import Forecaster
from utils.files import DamagedFile, locked
from utils.flags.parsing import flag_roles, later_flags_at_default, place_flags
from utils.run_folder import RunFolder
from utils.source import files_that_differ, source_record
from utils.tracking.config import Tracking

logger = logging.getLogger(__name__)
LONGEST_NAME, SHORTENED = 200, 24
FEW = 3


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
    # What follows --recipe and differs from it: flag -> value. None without --recipe.
    recipe_changes: dict[str, Any] | None = None

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
        """Flag -> role (`utils.flags.parsing.flag_roles`) of all flags of this command that have one."""
        return flag_roles(type(config) for config in self.configs)

    @property
    def configs(self) -> tuple[Any, ...]:
        """The config objects that the flags were parsed into."""
        return (self.data, self.train, self.track, self.model, *self.task)


def run_id(settings: Settings, *, data: str, fingerprint: str, determinants: Mapping[str, Any]) -> str:
    """Name of the run folder: readable parts and a hash of everything that determines the result.

    The hash covers all flags but those with the role "place" or "note" and those added later at their default, the
    `fingerprint` of the series `data`, and `determinants`. A long name of the data is shortened; ValueError if
    --model_id or --des make it too long.
    """
    record, train = settings.record(), settings.train
    later = later_flags_at_default(settings.configs)
    left_out = place_flags(settings.flag_roles()) | later
    # The hash depends on the content of the data file, not on its path.
    record["data_config"] |= {"root_path": "", "data_path": "", "fingerprint": fingerprint}
    record["train"] = record.pop("train_config")
    roles = settings.flag_roles()
    for part in ("data_config", "task_config"):
        # Flags of reading came later than the first runs, whose ids they must not change.
        record[part] = {
            name: value for name, value in record[part].items() if roles.get(name) != "reading" or value is not None
        }
    record["data_config"] = {name: value for name, value in record["data_config"].items() if name not in later}
    for part in ("model_config", "train", "task_config"):
        record[part] = {name: value for name, value in record[part].items() if name not in left_out}
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
    other_codes: list[str]

    def __init__(self, settings: Settings):
        check_quantiles(settings)
        self.settings = settings
        self.runtime = Runtime(settings.train, settings.track)
        if self.runtime.is_main:
            logger.info("%s", self.runtime.where())
        self.runtime.seed_everything()
        self.tracking = self._tracking()

    def _tracking(self) -> Tracking:
        track = self.settings.track
        if track.track == "none" or not self.runtime.is_main:
            return Tracking()
        from utils.tracking.trackers import AccelerateTracking

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
            changes = self.settings.recipe_changes
            self.folder.write_config({**record, "flag_roles": roles, "command": command, "recipe_changes": changes})

    def folder_for(self, run_id: str, *, earlier_ids: Sequence[str] = ()) -> RunFolder:
        """The run folder `run_id`, or the one that an earlier version named by one of `earlier_ids` if it exists.

        Raises ValueError if the run is finished (or is not, with `--is_training 0`), or was interrupted and would be
        resumed with other code without `--allow_other_code`.
        """
        train = self.settings.train
        folders = [RunFolder(Path(train.output_dir) / name) for name in (run_id, *earlier_ids)]
        folder = next((found for found in folders if found.has_files), folders[0])
        recorded = code_of(folder)
        changed = files_that_differ(recorded)
        if folder.is_finished and train.is_training and not train.overwrite:
            try:
                folder.own_metrics()
            except DamagedFile as error:
                raise DamagedFile(f"{error}; --overwrite runs it again") from error
            if self.runtime.is_main:
                folder.sweep()
            raise FinishedRun(folder, changed)
        if not folder.is_finished and not train.is_training:
            raise ValueError(f"--is_training 0 tests a finished run, but {folder.path} holds none: train it first")
        if changed and not train.is_training:
            logger.warning("tested with other code than trained: %s; the run's record stays as it is", listed(changed))
        resumes = folder.last.exists() and not folder.is_finished
        self.other_codes = list(recorded.get("other_codes", [])) if resumes else []
        if resumes and changed:
            if not train.allow_other_code:
                raise ValueError(
                    f"{folder.path} was interrupted and would go on with other code: {listed(changed)} changed since. "
                    "Undo that, give another --des to start anew beside it, or --allow_other_code to go on all the same"
                )
            logger.warning("resuming with other code: %s changed since", listed(changed))
            self.other_codes.append(recorded["hash"])
        return folder

    @property
    def writes_record(self) -> bool:
        """Whether this process writes the run folder: a run that only tests again leaves it as training left it."""
        return self.runtime.is_main and bool(self.settings.train.is_training)

    @cached_property
    def code(self) -> dict[str, Any]:
        """What the record says of the code (`utils.source`); `other_codes` are the hashes before it was resumed."""
        return {**source_record(), "other_codes": self.other_codes}

    def code_lines(self) -> list[str]:
        """A closing line if the code is edited; none for a test of a finished run, whose record says what it was."""
        if not self.settings.train.is_training:
            return []
        edited = self.code["edited"]
        return [f"edited code: {listed(edited)} (kept in {self.folder.code_changes.name})"] if edited else []


def check_quantiles(settings: Settings) -> None:
    """Check that the model can forecast what `--quantiles` asks for (ValueError)."""
    if settings.data.quantiles and not settings.model_class.forecasts_quantiles:
        able = [name for name in MODELS if model_class(name).forecasts_quantiles]
        raise ValueError(
            f"--model {settings.model_name} forecasts no quantiles: leave --quantiles away, or choose one of "
            f"{', '.join(able)} (docs/adding_a_model.md says what a model needs for it)"
        )


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

    def __init__(self, folder: RunFolder, changed: Sequence[str] = ()):
        advice = (
            "give --overwrite to run it again, --is_training 0 to test it again, or another --seed or --des for a run "
            "beside it"
        )
        if changed:
            advice = (
                f"its code was another ({listed(changed)} changed since): give --des NAME to run the changed code "
                "beside it, or --overwrite to lose it"
            )
        super().__init__(f"{folder.path} holds a finished run of exactly these flags, which is kept: {advice}")
        self.folder, self.changed = folder, changed


def code_of(folder: RunFolder) -> dict[str, Any]:
    """What the record of a run says of its code; empty if there is no record or it says nothing."""
    try:
        return dict(folder.read_config().get("source") or {})
    except OSError:
        # Missing, or damaged: whoever reads the record next reports it.
        return {}


def listed(names: Sequence[str]) -> str:
    """Names in a line, at most FEW of them."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
