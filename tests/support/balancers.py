"""Balancers that do as HAProxy does, for what drains, undrains and weighs hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pyinfra.api import State

from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.balancer.operations.balancers import Balancers
from barewind.errors import BarewindError
from barewind.hosts.ask import Answers, ask
from barewind.rollout.canary import COUNTERS, Counted


@dataclass
class Haproxy:
    """One balancer. `requests` are in flight on each server; one of them ends at each look."""

    servers: dict[str, Server] = field(default_factory=dict)
    counters: Callable[[], Mapping[str, Counted]] = dict
    silent: Callable[[], bool] = lambda: False
    late: int = 0  # requests that are counted only after the first look of a drain
    asked: list[str] = field(default_factory=list)  # commands that came here

    def answer(self, command: str, name: str) -> Any:
        """Do what a command says, and tell how servers are."""
        if self.silent():
            raise BarewindError(f"{name}: the balancer does not answer (no route to host)")
        self.asked.append(command)
        if command == COUNTERS:
            return dict(self.counters())
        for server, state in re.findall(r"engines/(\S+) state (\w+)", command):
            self.change(server, admin=Admin(state))
        for server, weight in re.findall(r"engines/(\S+) weight (\d+)", command):
            self.change(server, weight=int(weight))
        rotation = Rotation((Worker(12, True, dict(self.servers)),), self.fingerprint)
        for server, known in self.servers.items():
            late, self.late = (self.late, 0) if f"{server} state drain" in command else (0, self.late)
            self.change(server, sessions=max(0, known.sessions - 1) + late)
        return rotation

    @property
    def fingerprint(self) -> str:
        """Of how its servers are, requests aside."""
        states = [(name, known.admin, known.health, known.weight) for name, known in self.servers.items()]
        return sha256(repr(states).encode()).hexdigest()

    def change(self, server: str, **values: Any) -> None:
        """Have a server be otherwise."""
        self.servers[server] = Server(**{**vars(self.servers[server]), **values})


def up(name: str, **values: Any) -> Server:
    """A server that gets requests, but for what is given."""
    return Server(**{"name": name, "admin": Admin.READY, "health": Health.UP, "sessions": 0, "queued": 0} | values)


def haproxy(*names: str, **values: Any) -> Haproxy:
    """A balancer that sends servers requests."""
    return Haproxy({name: up(name) for name in names}, **values)


class FakeBalancers(Balancers):
    """A fleet's balancers, each a double."""

    def __init__(self, **haproxies: Haproxy) -> None:
        super().__init__(State(), list(haproxies))
        self.haproxies = haproxies

    def ask(self, command: str, read: Callable[[str, str], Any], names: Collection[str] | None = None) -> Answers[Any]:
        del read  # a double answers with what is read
        return ask(self.names if names is None else names, lambda name: self.haproxies[name].answer(command, name))


@dataclass(eq=False)
class FakeHost:
    """The host in hand, as operations get it."""

    name: str = "gpu1"
    messages: list[str] = field(default_factory=list)
    print_prefix: str = ""

    def log(self, message: str) -> None:
        self.messages.append(message)
