"""Looking again until something is as it shall be: how often, for how long, and what the user is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from gevent import sleep

from barewind.progress import ticks


class Poll:
    """A wait that begins when it is made. Its loop looks, pauses, and looks again:

    .. code:: python

        poll = Poll(interval=2.0, limit=120, log=host.log)
        while True:
            unit = look()
            if unit.active:
                return True
            poll.log(f"starts ({poll.waited:.0f} s)")
            if not poll.pause():
                return failed("did not start within 120 s")

    A loop whose first look shall come after a pause is `while poll.pause(): ...`; it ends when it has to give up.
    """

    def __init__(
        self,
        interval: float,
        limit: float = inf,
        *,
        log: Callable[[str], None] | None = None,
        log_interval: float = 15.0,
        log_at_once: bool = False,
        clock: Callable[[], float] | None = None,
        pauser: Callable[[float], None] | None = None,
    ) -> None:
        """All times in seconds; `clock` and `pauser` stand for the real time in tests.

        + interval: between two looks
        + limit: after which `pause` gives up; without a limit the loop itself knows when to end
        + log: where messages go, for instance `host.log`
        + log_interval: a message comes only when the last message is longer ago
        + log_at_once: the first message may come at once, and not only after `log_interval`
        """
        self._interval = interval
        self._limit = limit
        self._log = log
        self._log_interval = log_interval
        self._clock = clock or monotonic
        self._pauser = pauser or sleep
        self._begun = self._clock()
        self._logged = -inf if log_at_once else self._begun

    @property
    def waited(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds until the limit; 0 when it is over."""
        return max(0.0, self._limit - self.waited)

    def pause(self, at_most: float = inf) -> bool:
        """Wait for the interval, or `at_most`, or what is left until the limit; False, and at once, when nothing is left."""
        left = self.left
        if left <= 0:
            return False
        self._pauser(min(self._interval, at_most, left))
        return True

    def log(self, message: str) -> bool:
        """Log how far it is, unless something was logged a moment ago; whether it was logged."""
        now = self._clock()
        if self._log is None:
            return False
        ticks.publish(message)
        if now - self._logged <= self._log_interval:
            return False
        self._logged = now
        with ticks.logged():
            self._log(message)
        return True
