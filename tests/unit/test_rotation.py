"""Leaving the balancers and returning to them, against balancers that do as HAProxy does; the clock is the test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
from barewind.operations import rotation


@dataclass
class Balancer:
    """One HAProxy with one server; a request in flight ends at each look."""

    sessions: int = 0
    admin: Admin = Admin.READY
    health: Health = Health.UP
    silent: bool = False

    def answer(self, command: str) -> Rotation:
        if self.silent:
            raise BarewindError("lb2: the balancer does not answer (no route to host)")
        if "state drain" in command:
            self.admin = Admin.DRAIN
        if "state ready" in command:
            self.admin = Admin.READY
        server = Server("gpu1", self.admin, self.health, self.sessions, 0)
        self.sessions = max(0, self.sessions - 1)
        return Rotation((Worker(12, True, {"gpu1": server}),))


@dataclass
class Fleet:
    """The state that operations get, and the host in hand."""

    balancers: dict[str, Balancer]
    said: list[str] = field(default_factory=list)
    clock: float = 0
    name: str = "gpu1"
    print_prefix: str = ""

    def log(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet({"lb1": Balancer(), "lb2": Balancer()})

    def sleep(seconds: float) -> None:
        made.clock += seconds

    def ask(state: Any, names: list[str], command: str, read: Any) -> dict[str, Rotation]:
        return {name: made.balancers[name].answer(command) for name in names}

    monkeypatch.setattr(rotation, "_ask", ask)
    monkeypatch.setattr(rotation, "monotonic", lambda: made.clock)
    monkeypatch.setattr(rotation.gevent, "sleep", sleep)
    monkeypatch.setattr(rotation.logger, "error", made.said.append)
    return made


def take_out(fleet: Fleet, timeout: int = 60) -> bool:
    return rotation._take_out(fleet, fleet, "gpu1", sorted(fleet.balancers), timeout)  # type: ignore[arg-type]


def put_back(fleet: Fleet) -> bool:
    return rotation._return(fleet, fleet, "gpu1", sorted(fleet.balancers))  # type: ignore[arg-type]


def test_every_balancer_is_told_and_requests_are_waited_for(fleet: Fleet) -> None:
    fleet.balancers["lb2"].sessions = 5
    assert take_out(fleet)
    assert fleet.clock == 5
    assert all(one.admin is Admin.DRAIN for one in fleet.balancers.values())


def test_requests_that_do_not_end_in_time_keep_their_host(fleet: Fleet) -> None:
    fleet.balancers["lb1"].sessions = 1000
    assert not take_out(fleet, timeout=30)
    assert [one.admin for one in fleet.balancers.values()] == [Admin.READY, Admin.READY]
    assert "raise 'drain_timeout'" in fleet.said[-1]
    assert "the host was not touched" in fleet.said[-1]


def test_a_balancer_that_does_not_answer_keeps_the_host_in_rotation_on_the_others(fleet: Fleet) -> None:
    fleet.balancers["lb2"].silent = True
    assert not take_out(fleet)
    assert fleet.balancers["lb1"].admin is Admin.READY
    assert "lb2: the balancer does not answer (no route to host)" in fleet.said[-1]


def test_a_return_waits_for_the_health_check(fleet: Fleet) -> None:
    for one in fleet.balancers.values():
        one.admin = Admin.DRAIN
    assert put_back(fleet)
    assert [one.admin for one in fleet.balancers.values()] == [Admin.READY, Admin.READY]


def test_a_host_that_stays_down_on_a_balancer_is_named(fleet: Fleet) -> None:
    fleet.balancers["lb2"].health = Health.DOWN
    assert not put_back(fleet)
    assert fleet.clock >= 120
    assert "DOWN on lb2" in fleet.said[-1]
