"""News of the simulation: who asks whom, what is told, and what becomes of it when a host is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barewind.weights.agent import links, news, schedule
from bench.simulation.host import Line, Simulated

if TYPE_CHECKING:
    from bench.simulation.world import World

_LATENCY = 0.0005  # seconds, one way
CONNECT = 3.0  # seconds until a host that is off the network is given up


class News:
    """The news of the hosts of a world."""

    def __init__(self, world: World) -> None:
        """Nobody has asked anybody."""
        self.world = world

    def poll(self, host: Simulated, number: int) -> None:
        """Have a host ask whom it follows by one of its lines."""
        if not host.alive:
            return
        state, line = host.state, host.lines[number]
        taken = {name for other, name in state.following.items() if name is not None and other != number}
        name = links.host_to_follow(state, line.order, taken, self.world.now)
        state.follow(number, name)
        if name != line.name or (line.connection is not None and not line.connection.open):
            if line.connection is not None:
                line.connection.close()
            line.connection, line.since, line.version, line.told = None, 0, -1, None
        line.name = name
        if name is None:
            self._again(host, number, 1.0)
            return
        target = self.world.all[name]
        if not target.alive:
            since_dead = self.world.limits.dead if line.connection else min(CONNECT, self.world.limits.dead)
            self.world.after(since_dead, lambda: self._failed(host, number, name, full=False))
            return
        if line.connection is None and not self._connect(line, host, target):
            self._failed(host, number, name, full=True)
            return
        row = news.own_row(state, self.world.now)
        rows = {host.name: row} if row.order != line.told else {}
        line.told = row.order
        told = {"rows": rows, "beats": {host.name: (news.beat(state, self.world.now), 0.0)}}
        self.world.after(_LATENCY, lambda: self._ask(host, number, target, told))

    def _connect(self, line: Line, host: Simulated, target: Simulated) -> bool:
        line.connection = self.world.connect(host, target)
        if line.connection is None:
            return False
        if not target.admission.may_have_news(line.connection):
            line.connection.close()
            line.connection = None
        return line.connection is not None

    def _ask(self, host: Simulated, number: int, target: Simulated, told: dict[str, Any]) -> None:
        line = host.lines[number]
        if not target.alive:
            self.world.after(self.world.limits.dead, lambda: self._failed(host, number, target.name, full=False))
            return
        if line.connection is not None:
            target.admission.moved(line.connection)
        news.take_request(target.state, host.name, told, self.world.now)
        answered = False

        def answer() -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if not target.alive:
                self.world.after(self.world.limits.dead, lambda: self._failed(host, number, target.name, full=False))
                return
            reply = news.tell(target.state, line.since, line.version, self.world.now)
            if line.connection is not None:
                target.admission.moved(line.connection)
            self.world.after(_LATENCY, lambda: self._take(host, number, target.name, reply))

        if target.state.version != line.version:
            answer()
        else:
            target.waiting.append((number, answer))
            self.world.after(self.world.limits.dead / 4, answer)

    def _take(self, host: Simulated, number: int, name: str, reply: dict[str, Any]) -> None:
        if not host.alive:
            return
        line = host.lines[number]
        line.since, line.version = reply["count"], reply["state"]
        news.take_news(host.state, name, reply, self.world.now)
        self._again(host, number, 0.05 if line.order.sets else 0.25)

    def _failed(self, host: Simulated, number: int, name: str, *, full: bool) -> None:
        if not host.alive:
            return
        schedule.note_failure(host.state, name, self.world.now, full=full)
        host.state.follow(number, None)
        line = host.lines[number]
        if line.connection is not None:
            line.connection.close()
        line.connection, line.name = None, None
        self._again(host, number, 0.05)

    def _again(self, host: Simulated, number: int, pause: float) -> None:
        self.world.after(min(pause, self.world.limits.dead / 20), lambda: self.poll(host, number))

    def scout(self, host: Simulated) -> None:
        """Have a host look for those that it has not heard of."""
        if not host.alive:
            return
        name = links.host_to_scout(host.state, self.world.now)
        if name is not None:
            host.state.others[name].scouted_at = self.world.now
            target = self.world.all[name]
            connection = self.world.connect(host, target) if target.alive else None
            if connection is None:
                schedule.note_failure(host.state, name, self.world.now, full=False)
            else:
                row, beat = news.own_row(host.state, self.world.now), news.beat(host.state, self.world.now)
                told = {"rows": {host.name: row}, "beats": {host.name: (beat, 0.0)}}
                news.take_request(target.state, host.name, told, self.world.now)
                reply = news.tell(target.state, 0, -1, self.world.now)
                news.take_news(host.state, name, reply | {"events": []}, self.world.now)
                connection.close()
        self.world.after(self.world.limits.dead / 2, lambda: self.scout(host))
