"""The simulation's clock and network: what happens when, connections, and parts on links of one rate, on which they queue up."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from barewind.weights.agent import schedule
from barewind.weights.agent.job import FileSet, Job, Limits, LockedFile, Part, Peer, parts_of
from bench.simulation.host import Connection, Simulated
from bench.simulation.news import CONNECT, News

KEY = "model"
_FILES = 4


@dataclass
class World:
    """`size` bytes in `parts` parts for hosts h0, h1, ...; links of `rate` bytes per second."""

    hosts: int
    parts: int = 1000
    seconds: float = 100.0  # size/rate
    limits: Limits = field(default_factory=Limits)
    now: float = 1000.0
    complete: int = 0
    asked: Counter[int] = field(default_factory=Counter)  # part -> times that the hub was asked for it
    refused: int = 0

    def __post_init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self._dead = 0
        self.news = News(self)
        self.began = self.now
        self.hub_free = self.now
        each = self.parts // _FILES
        files = {f"f{number}": LockedFile(each * 100, "") for number in range(_FILES)}
        names = tuple(f"h{number}" for number in range(self.hosts))
        file_set = FileSet(KEY, "org/m", "r", Path("/unused"), files, names)
        peers = {name: Peer(name, name, 1) for name in names}
        parts = parts_of(file_set, 100)
        self.parts = len(parts)
        self.part_seconds = self.seconds / len(parts)
        self.all: dict[str, Simulated] = {}
        for name in names:
            job = Job("id", name, peers, (file_set,), endpoint="hub", expected=frozenset(names), limits=self.limits)
            self.all[name] = Simulated(self, job, parts)

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Have something happen later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._ids), happens))

    def run(self, *, until: Callable[[], bool], limit: float) -> None:
        """Let time pass.

        Raises:
            TimeoutError: `until` did not come about within `limit` seconds of the imagined time.
        """
        end = self.began + limit
        while not until():
            self.now, _, happens = heapq.heappop(self._events)
            if self.now > end:
                raise TimeoutError(f"not within {limit} s: {self.complete} of {self.hosts} are complete")
            happens()

    def start(self) -> None:
        """Have all hosts begin, one shortly after the other."""
        for number, host in enumerate(self.all.values()):
            for line in range(len(host.lines)):
                self.after(number % 100 * 0.01 + line * 0.001, partial(self.news.poll, host, line))
            self.after(self.limits.dead / 2, partial(self.news.scout, host))
            self.after(0.5, partial(self._tick, host))

    def kill(self, names: Iterable[str]) -> None:
        """Take hosts off the network, without a word."""
        for name in names:
            self.all[name].alive = False
            self._dead += 1

    @property
    def living(self) -> list[Simulated]:
        """Hosts that were not killed."""
        return [host for host in self.all.values() if host.alive]

    def all_complete(self) -> bool:
        """Whether every living host has everything."""
        return self.complete >= self.hosts - self._dead and all(host.state.complete for host in self.living)

    def _tick(self, host: Simulated) -> None:
        if host.alive and not host.state.complete:
            host.wake_workers()
            self.after(0.5, lambda: self._tick(host))

    def connect(self, source: Simulated, target: Simulated) -> Connection | None:
        """Open a connection; None if it is not let in."""
        connection = Connection(source, target)
        source.outgoing += 1
        target.incoming += 1
        if not target.admission.let_in(connection, source.name):
            self.refused += 1
            connection.close()
            return None
        for host in (source, target):
            host.most = max(host.most, host.outgoing + host.incoming)
        return connection

    def copy(self, host: Simulated, offer: schedule.PartOfHost) -> None:
        """Fetch a part from another host, over the connection that a thread has, or a new one."""
        source, part = self.all[offer.host], offer.part
        held = [thread for thread in host.idle if (one := host.copies[thread]) and one.open and one.target is source]
        thread = held[0] if held else host.idle[0]
        host.idle.remove(thread)
        host.state.claimed.add(part.id)
        connection = host.copies[thread]
        if not held:
            if connection is not None:
                connection.close()
            connection = host.copies[thread] = self.connect(host, source) if source.alive else None
        if connection is None:
            pause = min(0.5, self.limits.dead / 20) if source.alive else CONNECT
            self.after(pause, lambda: self._not_copied(host, thread, part))
            return
        source.admission.moved(connection)
        begin = max(self.now, source.up_free, host.down_free)
        source.up_free = host.down_free = begin + self.part_seconds
        digest = offer.digest + ("!" if part.number in source.rotten else "")
        self.after(begin + self.part_seconds - self.now, lambda: self._copied(host, thread, source, offer, digest))

    def _copied(self, host: Simulated, thread: int, source: Simulated, offer: schedule.PartOfHost, digest: str) -> None:
        connection = host.copies[thread]
        if not source.alive:
            self.after(self.limits.dead, lambda: self._not_copied(host, thread, offer.part))
            return
        if connection is not None:
            source.admission.moved(connection)
        if digest != offer.digest:
            host.repair.shun(offer.host, offer.part)
            self._not_copied(host, thread, offer.part)
            return
        host.idle.append(thread)
        if host.alive:
            host.received(offer.part, digest)

    def _not_copied(self, host: Simulated, thread: int, part: Part) -> None:
        connection = host.copies[thread]
        if connection is not None and not connection.target.alive:
            connection.close()
            host.copies[thread] = None
        host.state.claimed.discard(part.id)
        host.idle.append(thread)
        host.wake_workers()

    def download(self, host: Simulated, part: Part) -> None:
        """Fetch a part from the hub."""
        self.asked[part.number] += 1
        host.downloads += 1
        host.state.claimed.add(part.id)
        host.state.fetching.add(part.id)
        host.state.notify()
        begin = max(self.now, self.hub_free, host.down_free)
        self.hub_free = host.down_free = begin + self.part_seconds
        self.after(begin + self.part_seconds - self.now, lambda: self._downloaded(host, part))

    def _downloaded(self, host: Simulated, part: Part) -> None:
        if host.alive:
            host.downloads -= 1
            host.state.fetching.discard(part.id)
            host.received(part, f"{part.number:064}")
