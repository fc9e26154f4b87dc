"""Tracking of a run with wandb, TensorBoard or Trackio, through accelerate; imported only with `--track`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from utils.report.table import markdown
from utils.run_folder import RunFolder
from utils.tracking.config import Rows, Tracking
from utils.tracking.wandb_start import first_line, start_options, wandb_mode

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
        # A finished run that is overwritten is another run for the tracker; an interrupted one goes on under its id.
        times = RunFolder(folder).times_overwritten
        name = f"{run_id}-{times + 1}" if times else run_id
        flat = {name: value for name, value in _flatten(settings).items() if value is not None}
        if self.name == "wandb":
            options = {"id": name[-60:], "name": name, "group": group, "resume": "allow", "dir": str(folder)}
            self._start_wandb(flat, options)
            self._arrange_wandb()
        elif self.name == "trackio":
            self._start(flat, {"name": name, "group": group, "resume": "allow"})
        else:
            # A folder a run, so that `tensorboard --logdir RESULTS` shows each under its name.
            self.root, self.project = folder.parent, f"{folder.name}/tensorboard"
            self._start(flat, {})

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
        if self.name == "tensorboard":
            self._finish_tensorboard(images, tables)
        self.host.end_training()

    def _start(self, flat: dict[str, Any], options: dict[str, Any]) -> None:
        self.host.init_trackers(self.project, config=flat, init_kwargs={self.name: options})

    def _start_wandb(self, flat: dict[str, Any], options: dict[str, Any]) -> None:
        import wandb

        mode = wandb_mode()
        try:
            self._start(flat, {**options, **start_options(mode)})
        except wandb.Error as error:
            if mode == "offline":
                raise OSError(f"--track wandb cannot start ({first_line(error)}): leave it away") from error
            logger.warning("wandb cannot be used (%s): the run is recorded offline", first_line(error))
            self._start(flat, {**options, **start_options("offline")})

    def _finish_tensorboard(self, images: dict[str, Path], tables: dict[str, Rows]) -> None:
        from matplotlib.image import imread

        writer = self.host.get_tracker("tensorboard", unwrap=True)
        for name, path in images.items():
            writer.add_image(f"plots/{name}", imread(path), dataformats="HWC")
        for name, rows in tables.items():
            if rows:
                cells = [[f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()]
                         for row in rows]  # fmt: skip
                writer.add_text(f"tables/{name}", markdown(list(rows[0]), cells))
        logger.info("look at the runs with: tensorboard --logdir %s", self.root)

    def _arrange_wandb(self) -> None:
        run = self.host.get_tracker("wandb", unwrap=True)
        run.define_metric("epoch", hidden=True)
        for section in ("validation", "epoch_train", "schedule"):
            run.define_metric(f"{section}/*", step_metric="epoch")
        run.define_metric("validation/mse", step_metric="epoch", summary="min")


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
