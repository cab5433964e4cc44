"""Waits until a condition holds, with a deadline; never for a fixed time."""

import time
from collections.abc import Callable

from lab.errors import LabError

INTERVAL = 0.1  # seconds between two checks


def until(condition: Callable[[], bool], seconds: float, message: str) -> None:
    """Return as soon as `condition()` holds; LabError with the message when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(message)
        time.sleep(INTERVAL)
