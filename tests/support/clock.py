"""Time as a test has it: waits of the code under test pass at once, on a clock that only pauses move on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from barewind.hosts import poll


class Clock:
    """Seconds since the test began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds


def keep_time(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float], pause: Callable[[float], None]) -> None:
    """Have every wait go by the test's clock."""
    monkeypatch.setattr(poll, "monotonic", clock)
    monkeypatch.setattr(poll, "sleep", pause)
