"""A limit on bytes per second that several threads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST = 0.1  # seconds' worth that may go out at once


class Rate:
    """A limit in bytes per second; None is no limit."""

    def __init__(self, limit: int | None, *, sleep: Callable[[float], object] | None = None) -> None:
        self._limit = limit
        self._sleep = sleep or threading.Event().wait
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    @property
    def piece(self) -> int:
        """Bytes to move at a time, so that the flow is even."""
        return max(2**14, int(self._limit * _BURST)) if self._limit else 2**30

    def take(self, amount: int) -> None:
        """Wait until `amount` more bytes may flow."""
        if not self._limit:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST) + amount / self._limit
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)
