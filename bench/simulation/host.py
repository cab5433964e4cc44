"""A host of the simulation: the program's own state and decisions, and what it holds of imagined connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barewind.weights.agent import links, schedule
from barewind.weights.agent.admission import Admission
from barewind.weights.agent.job import Job, Part
from barewind.weights.agent.repair import Repair
from barewind.weights.agent.server import GUESTS
from barewind.weights.agent.state import State

if TYPE_CHECKING:
    from bench.simulation.world import World

_DOWNLOADS = 4  # parts at a time from the hub


@dataclass(eq=False)
class Connection:
    """One that is open; ends with either host, or when the one that accepted it makes room."""

    source: Simulated
    target: Simulated
    open: bool = True

    def shutdown(self, _how: int, /) -> None:
        """End it, as a socket: whoever accepted it makes room for another one."""
        if self.open:
            self.open = False
            self.source.outgoing -= 1
            self.target.incoming -= 1

    def close(self) -> None:
        """End it."""
        if self.open:
            self.shutdown(0)
            self.target.admission.left(self)


@dataclass
class Line:
    """One of the hosts that a host follows."""

    order: links.Order
    name: str | None = None
    connection: Connection | None = None
    since: int = 0
    version: int = -1
    told: tuple[int, int] | None = None


class Simulated:
    """One host. `changed` and `told` of its state wake up what would be its threads."""

    def __init__(self, world: World, job: Job, parts: list[Part]) -> None:
        self.name, self.job, self.world = job.host, job, world
        self.state = State(job, parts, lambda *_: None, now=world.now)
        self.state.run = int(world.now * 1000)
        conditions: Any = self.state  # there are no threads that would wait
        conditions.changed, conditions.told = _Bell(self.wake_workers), _Bell(self.wake_waiting)
        orders = links.orders(job)
        self.lines = [Line(order) for order in orders]
        room = links.most_incoming(len(orders))
        self.admission = Admission(
            {peer.address for peer in job.peers.values()}, room, len(orders) + GUESTS, job.limits.dead / 2, world.clock
        )
        self.repair = Repair(self.state, {}, lambda _: None)
        self.alive = True
        self.outgoing = self.incoming = self.most = 0
        self.copies: list[Connection | None] = [None] * links.PARTS  # what each copying thread holds
        self.idle = list(range(links.PARTS))
        self.downloads = 0
        self.up_free = self.down_free = world.now
        self.done_at = 0.0
        self.due = False
        self.waiting: list[tuple[int, Callable[[], None]]] = []
        self.rotten: set[int] = set()

    def wake_workers(self) -> None:
        """Have threads that fetch look for work."""
        if not self.due and self.alive:
            self.due = True
            self.world.after(0.0, self.work)

    def wake_waiting(self) -> None:
        """Answer those who wait for news."""
        waiting, self.waiting = self.waiting, []
        for _, answer in waiting:
            self.world.after(0.0, answer)

    def work(self) -> None:
        """What the fetching threads do when something has changed."""
        self.due = False
        if not self.alive or self.state.complete:
            return
        while self.idle and (offer := schedule.next_from_host(self.state, self.world.now)) is not None:
            self.world.copy(self, offer)
        while self.downloads < _DOWNLOADS and (part := schedule.next_from_endpoint(self.state, self.world.now)):
            self.world.download(self, part)

    def received(self, part: Part, digest: str) -> None:
        """A part is there; so is a file, or everything, when it was the last one."""
        state = self.state
        state.claimed.discard(part.id)
        state.received += part.size
        state.add(part, digest)
        if all(one.id in state.have for one in state.parts_of_file[part.file_id]):
            state.mark_verified(part.file_id)
        if len(state.verified) == len(state.parts_of_file):
            state.complete = True
            self.done_at = self.world.now
            self.world.complete += 1
            for connection in self.copies:
                if connection is not None:
                    connection.close()
            state.notify()


@dataclass
class _Bell:
    ring: Callable[[], None]

    def notify_all(self) -> None:
        self.ring()
