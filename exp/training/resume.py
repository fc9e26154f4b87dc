"""Going on with a run that was broken off: which saved state is used, and a best checkpoint that is whole."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exp.training.processes import StoppedElsewhere
from exp.training.runtime import Runtime
from exp.training.state import TrainingState, read_state
from utils.checkpoint import load_checkpoint, pack, save_checkpoint, unpack
from utils.files import DamagedFile, move
from utils.run_folder import RunFolder
from utils.schemas.checking import checked
from utils.schemas.headers import BestHeader

logger = logging.getLogger(__name__)
WAY_OUT = "restore it from a copy, or give --overwrite to train from the beginning"


@dataclass
class Resume:
    """Restores `state` from the run folder of the run that `header` describes."""

    state: TrainingState
    folder: RunFolder
    runtime: Runtime
    header: dict[str, Any]

    def restore(self, *, may_start_anew: bool) -> bool:
        """Restore the last state, or the one before it if that file is damaged or of another run.

        Returns whether there was one. If no state can be used, or the best weights are lost, all that the broken run
        wrote is removed if it `may_start_anew`; else raises DamagedFile. All ranks do the same.
        """
        if not self.runtime.any_process(self.folder.last.exists() or self.folder.previous.exists()):
            return False
        first = {name: tensor.clone() for name, tensor in self.state.model.saved_state().items()}
        try:
            self._restore_newest()
            self.runtime.on_main(self._mend_best)
        except (DamagedFile, StoppedElsewhere) as error:
            if not may_start_anew:
                raise
            logger.warning("%s; --overwrite: training starts from the beginning", error)
            self.runtime.on_main(self.folder.remove_training)
            self.state.model.load_saved_state(first)
            self.state.reset()
            return False
        return True

    def _restore_newest(self) -> None:
        """Restore the newest file that fits. Raises DamagedFile for the last one if there is none."""
        last, previous = self.folder.last, self.folder.previous
        try:
            self.state.restore(last, self.runtime, run_id=self.header.get("run_id"))
            return
        except (DamagedFile, FileNotFoundError, StoppedElsewhere) as error:
            found = error
        try:
            self.state.restore(previous, self.runtime, run_id=self.header.get("run_id"))
        except (DamagedFile, FileNotFoundError, StoppedElsewhere) as error:
            if isinstance(found, StoppedElsewhere):
                raise found from error
            raise DamagedFile(f"{found}; there is no state before it that could be used: {WAY_OUT}") from found
        logger.warning("%s; going on from the state before it", found)
        # The next state that is saved must not push out the only one that is whole.
        self.runtime.on_main(lambda: move(previous, last, set_aside=self.folder.unused(last)))

    def _mend_best(self) -> None:
        """Write best.safetensors again if it cannot be used. Raises DamagedFile if no state holds its weights."""
        progress, best = self.state.progress, self.folder.best
        epoch = self.state.stopping.best_epoch
        if not epoch or self.state.best_is_now:
            return
        try:
            _, header = load_checkpoint(best, run_id=self.header.get("run_id"))
            found = checked(header, BestHeader, best)["epoch"]
            # A later epoch than the state's is trained again, and its weights are then written again.
            if found == epoch or found > progress.epoch:
                return
            problem = f"{best} holds the weights of epoch {found}, but epoch {epoch} is the best"
        except (DamagedFile, FileNotFoundError) as error:
            problem = str(error)
        weights = self._weights_of(epoch)
        if weights is None:
            raise DamagedFile(f"{problem}; the weights of epoch {epoch} are in no other file: {WAY_OUT}")
        logger.warning("%s; written again from the state of that epoch", problem)
        write_best(best, weights, self.header, progress.history[epoch - 1])

    def _weights_of(self, epoch: int) -> dict[str, Any] | None:
        """The weights after `epoch` from the state before the last one, if that is the end of this epoch."""
        try:
            tensors, state = read_state(self.folder.previous, run_id=self.header.get("run_id"))
        except (DamagedFile, FileNotFoundError):
            return None
        progress = state["progress"]
        is_end = progress.get("epoch") == epoch and progress.get("step") == 0
        return unpack("model", tensors) if is_end else None


def write_best(path: Path, weights: dict[str, Any], header: dict[str, Any], record: dict[str, Any]) -> None:
    """Write the weights of an epoch with its entry of the history."""
    facts = {"epoch": record["epoch"], "validation": record["validation"]}
    save_checkpoint(path, pack("model", weights), {**header, **facts})
