"""Tracking of a run with wandb, TensorBoard or Trackio, through accelerate; imported only with `--track`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from utils.tracking import Rows, Tracking

logger = logging.getLogger(__name__)


@runtime_checkable
class TrackerHost(Protocol):
    """The part of `accelerate.Accelerator` that tracking uses."""

    def init_trackers(self, project_name: str, config: dict | None = ..., init_kwargs: dict | None = ...) -> None: ...
    def log(self, values: dict, step: int | None = ..., log_kwargs: dict | None = ...) -> None: ...
    def get_tracker(self, name: str, unwrap: bool = ...) -> Any: ...
    def end_training(self) -> None: ...


class AccelerateTracking(Tracking):
    """One run in the tracker `name`, on the main rank."""

    def __init__(self, name: str, project: str, host: TrackerHost):
        self.name, self.project, self.host = name, project, host

    def start(self, *, run_id: str, group: str, settings: dict[str, Any], folder: Path) -> None:
        """Start the run in the tracker, or resume the one of the same id."""
        options = {
            "wandb": {"id": run_id[-60:], "name": run_id, "group": group, "resume": "allow", "dir": str(folder)},
            "trackio": {"name": run_id, "group": group, "resume": "allow"},
        }
        if self.name == "wandb":
            options["wandb"]["mode"] = _wandb_mode()
        flat = {name: value for name, value in _flatten(settings).items() if value is not None}
        chosen = {name: value for name, value in options.items() if name == self.name}
        self.host.init_trackers(self.project, config=flat, init_kwargs=chosen)
        if self.name == "wandb":
            self._arrange_wandb()

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Log points of curves at a training step; names start with a section (`train/mse`)."""
        self.host.log(values, step=step)

    def finish(self, *, summary: dict[str, Any], images: dict[str, Path], tables: dict[str, Rows]) -> None:
        """Log final metrics, images and tables (rows with the same keys), and close the run."""
        if self.name == "wandb":
            import wandb

            run = self.host.get_tracker("wandb", unwrap=True)
            run.log({f"plots/{name}": wandb.Image(str(path)) for name, path in images.items()})
            run.log({f"tables/{name}": _wandb_table(rows) for name, rows in tables.items() if rows})
            run.summary.update(_flatten(summary))
            if run.offline:
                # A resumed run has several folders, which `wandb sync` joins by run id.
                parts = Path(run.dir).parent.parent / f"offline-run-*-{run.id}"
                logger.info("the wandb run was recorded offline; upload it with: wandb sync %s", parts)
        else:
            numbers = {name: value for name, value in _flatten(summary).items() if isinstance(value, int | float)}
            self.host.log(numbers)
        self.host.end_training()

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
