"""Tracking of a run with wandb, TensorBoard or Trackio; a tracker is imported only if `--track` names it."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from transformers.hf_argparser import HfArg

logger = logging.getLogger(__name__)
Rows = list[dict[str, Any]]
PROJECT = "balm-forecasting"


@dataclass(frozen=True)
class TrackConfig:
    """Flags of tracking."""

    track: Literal["none", "wandb", "tensorboard", "trackio"] = HfArg(
        default="none", help="Also send curves, tables and plots to this tracker", metadata={"role": "place"}
    )
    track_project: str = HfArg(default=PROJECT, help="The tracker's project", metadata={"role": "place"})

    def __post_init__(self) -> None:
        if self.track != "none" and importlib.util.find_spec(self.track) is None:
            raise ValueError(f"--track {self.track} needs the package {self.track}: pip install {self.track}")


@runtime_checkable
class TrackerHost(Protocol):
    """The part of `accelerate.Accelerator` that tracking uses."""

    def init_trackers(self, project_name: str, config: dict | None = ..., init_kwargs: dict | None = ...) -> None: ...
    def log(self, values: dict, step: int | None = ..., log_kwargs: dict | None = ...) -> None: ...
    def get_tracker(self, name: str, unwrap: bool = ...) -> Any: ...
    def end_training(self) -> None: ...


class Tracking:
    """One run in a tracker, through accelerate; without `--track`, every method does nothing."""

    def __init__(self, config: TrackConfig, host: TrackerHost, *, is_main: bool):
        self.config, self.host = config, host
        self.active = config.track != "none" and is_main

    def start(self, *, run_id: str, group: str, settings: dict[str, Any], folder: Path) -> None:
        """Start the run in the tracker, or resume the one of the same id."""
        if not self.active:
            return
        options = {
            "wandb": {"id": run_id[-60:], "name": run_id, "group": group, "resume": "allow", "dir": str(folder)},
            "trackio": {"name": run_id, "group": group, "resume": "allow"},
        }
        if self.config.track == "wandb":
            options["wandb"]["mode"] = _wandb_mode()
        flat = {name: value for name, value in _flatten(settings).items() if value is not None}
        chosen = {name: value for name, value in options.items() if name == self.config.track}
        self.host.init_trackers(self.config.track_project, config=flat, init_kwargs=chosen)
        if self.config.track == "wandb":
            self._arrange_wandb()

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Log points of curves at a training step; names start with a section (`train/mse`)."""
        if self.active:
            self.host.log(values, step=step)

    def finish(self, *, summary: dict[str, Any], images: dict[str, Path], tables: dict[str, Rows]) -> None:
        """Log final metrics, images and tables (rows with the same keys), and close the run."""
        if not self.active:
            return
        if self.config.track == "wandb":
            import wandb

            run = self.host.get_tracker("wandb", unwrap=True)
            run.log({f"plots/{name}": wandb.Image(str(path)) for name, path in images.items()})
            run.log({f"tables/{name}": _wandb_table(rows) for name, rows in tables.items() if rows})
            run.summary.update(_flatten(summary))
            if run.offline:
                # A run that was resumed has several folders, which `wandb sync` joins by their id.
                parts = Path(run.dir).parent.parent / f"offline-run-*-{run.id}"
                logger.info("the wandb run was recorded offline; upload it with: wandb sync %s", parts)
        else:
            numbers = {name: value for name, value in _flatten(summary).items() if isinstance(value, int | float)}
            self.host.log(numbers)
        self.host.end_training()
        self.active = False

    def _arrange_wandb(self) -> None:
        run = self.host.get_tracker("wandb", unwrap=True)
        run.define_metric("epoch", hidden=True)
        for section in ("validation", "epoch_train", "schedule"):
            run.define_metric(f"{section}/*", step_metric="epoch")
        run.define_metric("validation/mse", step_metric="epoch", summary="min")


def _wandb_mode() -> str:
    """WANDB_MODE if it is set; otherwise "online", or "offline" if this machine has no wandb account."""
    import wandb

    chosen = os.environ.get("WANDB_MODE")
    if chosen:
        return chosen
    if wandb.login(prompt=False, verify=False):
        return "online"
    logger.info("no wandb account on this machine (see `wandb login`): the run is recorded offline")
    return "offline"


def _wandb_table(rows: Rows) -> Any:
    import wandb

    return wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}/"))
        elif isinstance(value, str | int | float | bool) or value is None:
            flat[prefix + name] = value
        elif isinstance(value, list | tuple) and len(value) <= 8:
            flat[prefix + name] = str(list(value))
    return flat
