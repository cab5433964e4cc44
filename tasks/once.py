"""Work done once per run, though every host loads deploy.py, and all of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from gevent.lock import RLock

Result = TypeVar("Result")


def once(function: Callable[[], Result]) -> Callable[[], Result]:
    """The first caller does it, the others wait for the result (functools.cache would let each do it)."""
    lock, results = RLock(), list[Result]()

    @wraps(function)
    def call() -> Result:
        with lock:
            if not results:
                results.append(function())
            return results[0]

    return call
