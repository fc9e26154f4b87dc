"""What a task looks like that works with a finished run: its checkpoint says what other tasks are told by flags."""

from __future__ import annotations

from typing import Any, ClassVar


class CheckpointTask:
    """A task whose only flags are those of `task_configs`: model and data settings come from a checkpoint.

    Built without writing anything from the configs, in the order of `task_configs`; `run` then does the work.
    """

    task_configs: ClassVar[tuple[type, ...]] = ()
    description: ClassVar[str] = ""

    def __init__(self, *configs: Any):
        raise NotImplementedError

    def run(self) -> dict[str, Any]:
        """Does the work and returns what `closing_text` tells of it."""
        raise NotImplementedError

    def closing_text(self, result: dict[str, Any]) -> str:
        """What a person reads at the end."""
        raise NotImplementedError
