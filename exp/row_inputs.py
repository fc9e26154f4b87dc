"""What a model is given beside the look-back window: constants of the rows, or states computed from them once."""

from __future__ import annotations

import torch
from torch import Tensor

from data_provider.row_store import MemoryBudget, RowStore
from data_provider.windows import Batch
from models.base import Forecaster


class RowInputs:
    """Keeps the states of a split's rows while the model says that they are constant, within a memory budget.

    Where they are not, the row constants are handed through. Rows beyond the budget are computed again each time.
    """

    def __init__(self, model: Forecaster, *, num_rows: int, budget: MemoryBudget):
        self.model = model
        self.store = RowStore(num_rows=num_rows, budget=budget)
        self.version: int | None = None

    def of(self, batch: Batch) -> dict[str, Tensor]:
        """Keyword arguments for `forward`, on the device of the batch."""
        # The naive forecasts are made from the windows of a model that may want the calendar.
        unread = set() if self.model.needs_time_features else {"time_features"}
        constants = {name: value for name, value in batch.constants.items() if name not in unread}
        if not constants or not self.model.row_states_are_constant:
            return constants
        if self.version != self.model.row_states_version:
            self.store.clear()
            self.version = self.model.row_states_version

        def compute(missing: Tensor) -> dict[str, Tensor]:
            is_missing = torch.isin(batch.rows, missing).to(batch.look_back.device)
            with torch.no_grad():
                states = self.model.row_states(**{name: value[is_missing] for name, value in constants.items()})
            return {name: value.cpu() for name, value in states.items()}

        states = self.store.get(batch.rows, compute)
        return {name: value.to(batch.look_back.device, non_blocking=True) for name, value in states.items()}
