"""Waiting for something to become true: poll with a deadline, never a fixed sleep."""

import time
from collections.abc import Callable

from lab.errors import LabError

INTERVAL = 0.1  # seconds between two looks


def until(true: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Return as soon as `true()`; LabError(`otherwise`) when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise LabError(otherwise)
        time.sleep(INTERVAL)
