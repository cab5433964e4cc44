"""What several hosts want of the balancers at about the same moment, asked once for all of them.

The hosts of a batch are drained side by side, each from its own turn. A command each would be as many commands, one after the
other over the few sessions that a balancer's sshd allows, and each would read what all the others have just read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

import gevent
from gevent.event import AsyncResult, Event

Wish = TypeVar("Wish")
Result = TypeVar("Result")

_QUIET = 0.02  # seconds without another host after which no more is waited for
_LONGEST = 0.5  # seconds from the first host on; a thousand of them take about that to come


@dataclass
class _Round(Generic[Wish, Result]):
    """Hosts that have come, and who is expected."""

    wishes: dict[str, Wish] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    came: Event = field(default_factory=Event)
    results: AsyncResult[Mapping[str, Result]] = field(default_factory=AsyncResult)


class Together(Generic[Wish, Result]):
    """Answers wishes of hosts, those that come together with one call.

    A call begins when every host has come that is expected, or none has for a moment; who comes later is in the next, which does
    not wait for the one before. So an answer is never older than the wish.
    """

    def __init__(self, answer: Callable[[Mapping[str, Wish]], Mapping[str, Result]]) -> None:
        """+ answer: takes the wishes of hosts, returns a result for each; its error is that of each of them"""
        self._answer = answer
        self._round: _Round[Wish, Result] | None = None

    def ask(self, host: str, wish: Wish, expected: Collection[str] = ()) -> Result:
        """The answer to a host's wish.

        + expected: hosts that are about to wish for the like; some of them may not come

        Raises:
            Exception: whatever `answer` raises.
        """
        if self._round is None or host in self._round.wishes:
            self._round = _Round()
            gevent.spawn(self._hold, self._round)
        round_ = self._round
        round_.wishes[host] = wish
        round_.expected.update(expected)
        round_.came.set()
        try:
            results: Mapping[str, Result] = round_.results.get()
            return results[host]
        except BaseException:
            round_.wishes.pop(host, None)  # who is killed before the call begins wants nothing any more
            raise

    def _hold(self, round_: _Round[Wish, Result]) -> None:
        begun = monotonic()
        while not round_.expected <= round_.wishes.keys() and monotonic() - begun < _LONGEST:
            round_.came.clear()
            if not round_.came.wait(_QUIET):
                break
        if self._round is round_:
            self._round = None
        try:
            round_.results.set(self._answer(dict(round_.wishes)) if round_.wishes else {})
        except Exception as error:  # theirs who asked
            round_.results.set_exception(error)
