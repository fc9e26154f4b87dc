"""A memory budget shared by several caches."""

from __future__ import annotations

import threading


class MemoryBudget:
    """Bytes shared by several row stores: what one holds, the others cannot use."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()

    def open_to(self, store: object) -> int:
        """Bytes that `store` may hold: free ones and those that it holds already."""
        with self._lock:
            return self.total_bytes - sum(held for owner, held in self._held.items() if owner != id(store))

    def hold(self, store: object, num_bytes: int) -> None:
        """Record that `store` now holds `num_bytes`."""
        with self._lock:
            self._held[id(store)] = num_bytes
