"""Interface of the experiment trackers, and the one used without `--track`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


class Tracking:
    """No tracker: every method does nothing."""

    def start(self, *, run_id: str, group: str, settings: dict[str, Any], folder: Path) -> None:
        """Start the run in the tracker, or resume the one of the same id."""

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Log points of curves at a training step; names start with a section (`train/mse`)."""

    def finish(self, *, summary: dict[str, Any], images: dict[str, Path], tables: dict[str, Rows]) -> None:
        """Log final metrics, images and tables (rows with the same keys), and close the run."""
