"""Which connections of other hosts are let in: so many in all, so many from one address, idle ones only while there is room."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

_ONE = 5  # connections from one address: its parts and its news, and an end of a broken one


class Connection(Protocol):
    """A guest's connection: a socket, or a simulated one."""

    def shutdown(self, how: int, /) -> None:
        """End it; whoever waits for something of it wakes up."""


@dataclass
class _Guest:
    address: str
    connection: Connection
    moved_at: float  # when something was asked or sent last, in time.monotonic()
    news: bool = False  # whether it is for news; those are never idle


class Admission:
    """`most` connections in all, of these `news` for news: the rest is left for parts.

    A guest that does nothing for `idle` seconds makes room when another one comes.
    """

    def __init__(
        self, allowed: set[str], most: int, news: int, idle: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed, self._most, self._news, self._idle = allowed, most, news, idle
        self._clock = clock
        self._lock = threading.Lock()
        self._guests: dict[int, _Guest] = {}  # by id of the connection
        self._open: Counter[str] = Counter()  # address -> its connections

    def let_in(self, connection: Connection, address: str) -> bool:
        """Whether a connection may stay."""
        if address not in self._allowed:
            return False
        with self._lock:
            if self._open[address] >= _ONE and not self._make_room(address):
                return False
            if len(self._guests) >= self._most and not self._make_room():
                return False
            self._guests[id(connection)] = _Guest(address, connection, self._clock())
            self._open[address] += 1
            return True

    def moved(self, connection: Connection) -> None:
        """Note that something was asked or sent over a connection."""
        guest = self._guests.get(id(connection))
        if guest is not None:
            guest.moved_at = self._clock()

    def may_have_news(self, connection: Connection) -> bool:
        """Whether a connection may be for news; it is from then on."""
        with self._lock:
            guest = self._guests.get(id(connection))
            if guest is None:
                return False
            guest.news = guest.news or sum(other.news for other in self._guests.values()) < self._news
            return guest.news

    def left(self, connection: Connection) -> None:
        """Note that a connection is closed, or about to be."""
        with self._lock:
            guest = self._guests.pop(id(connection), None)
            if guest is not None:
                self._open[guest.address] -= 1

    def _make_room(self, address: str | None = None) -> bool:
        """End the connection that has done nothing for longest, of one address or of those that have the most."""
        since = self._clock() - self._idle
        idle = [guest for guest in self._guests.values() if guest.moved_at < since and address in (None, guest.address)]
        if not idle:
            return False
        guest = min(idle, key=lambda guest: (-self._open[guest.address], guest.moved_at))
        del self._guests[id(guest.connection)]
        self._open[guest.address] -= 1
        with suppress(OSError):  # its other end is gone
            guest.connection.shutdown(socket.SHUT_RDWR)  # its thread, whatever it waits for, wakes up and closes it
        return True
