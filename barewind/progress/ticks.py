"""Ticks: what a long wait says of how far it is. A terminal shows the last one of each host, a log a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str], None]

_logged: ContextVar[bool] = ContextVar("barewind_tick", default=False)
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have `listener` called with every tick, in the greenlet of the host that it is about."""
    _listeners.append(listener)


def publish(message: str) -> None:
    """Tell listeners how far a wait is; at every look."""
    for listener in _listeners:
        listener(message)


@contextmanager
def logged() -> Iterator[None]:
    """What is logged meanwhile is a tick."""
    token = _logged.set(True)
    try:
        yield
    finally:
        _logged.reset(token)


def is_tick() -> bool:
    """Whether what is being logged now is a tick."""
    return _logged.get()
